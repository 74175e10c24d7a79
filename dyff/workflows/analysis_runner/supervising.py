"""The outer process of a run: it starts the code, bounds it, ends all that it leaves, and writes what became of it."""

from __future__ import annotations

import argparse
import contextlib
import html
import json
import os
import shutil
import stat
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import child, confining, endings, environment, failures, memory, places
from .logs import Log

FONTS = """<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>/usr/share/fonts</dir>
  <cachedir>{cache}</cachedir>
</fontconfig>
"""

OUTCOME, LOG = "outcome.json", "logs.txt"


def main(arguments: list[str]) -> int:
    """Run the code of the method once.

    Args:
        arguments: `--in` and `--out`, with the folders.

    Returns:
        0 if there is an outcome, also if the code failed; `endings.KILLED` if the kernel has ended a process of this container.
    """
    parser = argparse.ArgumentParser(prog="analysis-runner", description="Run the code of a method, and write outcome.json.")
    parser.add_argument("--in", dest="inside", required=True, help="the folder with the inputs, the modules and .dyff/analysis.json")
    parser.add_argument("--out", required=True, help="the folder for the output, the log and outcome.json")
    given = parser.parse_args(arguments)
    place = places.place(given.inside, given.out)
    try:
        _prepare(place)
        limits = place.limits
        _ = place.method
    except (OSError, ValueError) as error:
        sys.stderr.write(f"the run cannot be started: {error}\n")
        return 1
    outcome, killed = _run(place, limits)
    _write(place.out / OUTCOME, outcome)
    shutil.rmtree(place.work, ignore_errors=True)
    return endings.KILLED if killed else 0


def _prepare(place: places.Place) -> None:
    """Remove what an earlier attempt left, and link the inputs and the modules into the storage root."""
    place.out.mkdir(parents=True, exist_ok=True)
    for each in (place.root, place.work):
        _remove(each)
    for name in (OUTCOME, LOG):
        _remove(place.out / name)
    place.work.mkdir()
    place.root.mkdir()
    for entity in dict.fromkeys([*place.inputs.values(), *place.modules]):
        if "/" in entity or entity in ("", ".", ".."):
            raise ValueError(f"{entity!r} is not an ID")
        (place.root / entity).symlink_to(place.inside / entity, target_is_directory=True)
    (place.result / ".dyff").mkdir(parents=True)
    (place.work / "tmp").mkdir()
    child.fonts(place).write_text(FONTS.format(cache=html.escape(str(place.work / "tmp/fontconfig"))), encoding="utf-8")
    place.write_config()


def _run(place: places.Place, limits: places.Limits) -> tuple[dict[str, Any], bool]:
    """Run the code; what became of it, and whether the kernel has ended a process of it for its memory."""
    attempt, started, seed = uuid.uuid4().hex, _now(), environment.seed(place.original)
    descriptor = os.open(place.out / LOG, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
    log = Log([descriptor, 1], limits.log_bytes)
    log.feed(f"[dyff] analysis {place.id}, attempt {attempt}, {started}\n".encode())
    with contextlib.suppress(OSError):  # without it, a process that the code leaves behind ends with the pod
        confining.adopt_orphans()
    running = child.start(place, seed)
    try:
        described = environment.described()  # while the child starts
        ended = child.follow(running, log, limits.timeout_s)
    finally:
        child.end(running, log)
    outcome, killed = endings.judged(ended, log.recent, place), memory.kills() > 0
    if killed and outcome["reason"] != failures.OUT_OF_MEMORY:
        outcome = endings.killed(place)
    if outcome["status"] == "Failed":
        log.feed(f"[dyff] {outcome['reason']}: {outcome['message']}\n".encode())
    log.close()
    os.close(descriptor)
    record = {"attempt": attempt, "started": started, "ended": _now(), "seed": seed}
    return {**outcome, **record, "environment": described, "machine": environment.machine()}, killed


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder. What the code left may lack permissions."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        for folder, _, _ in os.walk(path):
            with contextlib.suppress(OSError):
                os.chmod(folder, 0o700)
        shutil.rmtree(path)


def _write(path: Path, document: dict[str, Any]) -> None:
    """Write a document that is complete, or not there. The code may have changed the permissions of the folder."""
    with contextlib.suppress(OSError):
        path.parent.chmod(0o700 | stat.S_IMODE(path.parent.stat().st_mode))
    _remove(path)
    scratch = path.with_name(f".{path.name}")
    _remove(scratch)
    scratch.write_text(json.dumps(document, indent=1))
    scratch.rename(path)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")  # noqa: UP017 - the environment's Python may be 3.10
