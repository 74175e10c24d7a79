"""What is done to the copy of a local cluster that a backup holds, before a server uses it.

The pods of the copy ran elsewhere: their processes and directories are not here, and may still be those of the original on this very
machine. So none is found again. A Job's pod counts as disrupted, and the Job makes another one; every other pod is made again.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import apsw

from dyff.cluster import owners, port
from dyff.cluster.embedded import codec, kinds, store
from dyff.kernel import clock, errors, sqlite

REASON = "Restored"
_MESSAGE = "the server was restored from a backup that was made while it ran"
_LOST_CODE = 137


def require_sound(path: Path) -> None:
    """Read all of a cluster that no server has open.

    Raises:
        Damaged: it is damaged.
        NewerSchema: a newer release wrote it.
    """
    name = f"the cluster database {path}"
    with sqlite.translated(name, store.REMEDY):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            if int(connection.pragma("user_version")) > store.SCHEMA_VERSION:
                raise errors.NewerSchema(f"{name} is of a newer release: upgrade Dyff")
            sqlite.require_whole(connection, name, store.REMEDY)
        finally:
            connection.close()


def interrupt(path: Path, now: datetime) -> int:
    """End all pods that had not ended, and begin a new history. Returns how many pods that were.

    Raises:
        Damaged: the file is damaged.
    """
    with sqlite.translated(f"the cluster database {path}", store.REMEDY):
        connection = sqlite.connect(path, durable=True)
        try:
            with sqlite.transaction(connection):
                count = _interrupt(connection, now)
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            return count
        finally:
            connection.close()


def _interrupt(connection: apsw.Connection, now: datetime) -> int:
    key = kinds.resource(port.POD).key
    rows: list[Any] = connection.execute("SELECT name, body FROM objects WHERE kind = ?", (key,)).fetchall()
    meta: Any = connection.execute("SELECT version FROM meta").fetchone()
    version, count = max(int(meta[0]), clock.epoch_ms(now)), 0
    for name, body in rows:
        pod = codec.decode(body)
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        count += 1
        if (owners.controller(pod) or {}).get("kind") == "Job":
            version += 1
            pod["metadata"]["resourceVersion"] = str(version)
            pod["status"] = _disrupted(pod, clock.iso(now))
            connection.execute("UPDATE objects SET body = ? WHERE kind = ? AND name = ?", (codec.encode(pod), key, name))
        else:
            connection.execute("DELETE FROM objects WHERE kind = ? AND name = ?", (key, name))
    # No watch can continue from before: versions of the original after the backup were of other changes.
    connection.execute("DELETE FROM changes")
    connection.execute("UPDATE meta SET horizon = ?, version = ?", (version + 1, version + 1))
    return count


def _disrupted(pod: port.Object, now: str) -> dict[str, Any]:
    """The status of a pod that ended through no fault of its own, as the kubelet writes it when a server is stopped."""
    status = pod.get("status") or {}
    others = [each for each in status.get("conditions") or () if each["type"] not in ("DisruptionTarget", "Ready", "ContainersReady")]
    held = {"type": "DisruptionTarget", "status": "True", "reason": REASON, "message": _MESSAGE, "lastTransitionTime": now}
    return {
        **status,
        "phase": "Failed",
        "reason": REASON,
        "message": _MESSAGE,
        "conditions": [*others, held],
        "containerStatuses": [_ended(each, now) for each in status.get("containerStatuses") or ()],
        "initContainerStatuses": [_ended(each, now) for each in status.get("initContainerStatuses") or ()],
    }


def _ended(container: dict[str, Any], now: str) -> dict[str, Any]:
    if "terminated" in (container.get("state") or {}):
        return container
    ended = {"exitCode": _LOST_CODE, "reason": REASON, "message": _MESSAGE, "finishedAt": now}
    return {**container, "ready": False, "started": False, "state": {"terminated": ended}}
