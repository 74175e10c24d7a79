"""The local cluster's Secrets: files in a directory, as in a mounted Secret.

NAME/KEY                     the administrator's own, for steps that the operator makes
accounts/ACCOUNT/NAME/KEY    of an account, for its programs only
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from dyff.cluster.pods import images, refusals, specs

Secrets = Mapping[str, Mapping[str, Mapping[str, str]]]
"""Values of Secrets, by container, name and key."""

ACCOUNTS = "accounts"
"""The folder of the accounts' Secrets. No Secret of the administrator can have this name."""
ACCOUNT = "dyff.io/account"
"""The label of a pod that says whose it is. The operator writes it."""
MAX_SECRET_BYTES = 2**20
"""The size of a Secret, as in Kubernetes."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_ACCOUNT = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def read(directory: str | None, pod: specs.Pod) -> Secrets:
    """All Secrets from which the pod's containers take variables. `directory`: None if there are no Secrets. Blocks on the disk.

    A step gets the administrator's, any other program only those of the account whose pod it is. A line break at the end of a file,
    which editors add, is not part of the value.

    Raises:
        Refused: a Secret does not exist where the container may take it from, or cannot be read.
    """
    found: dict[str, dict[str, Mapping[str, str]]] = {}
    for each in (*pod.spec.init_containers, *pod.spec.containers):
        wanted = [source.secret_ref for source in each.env_from if source.secret_ref is not None]
        root = _root(directory, pod, each) if wanted else None
        values = {source.name: _values(root, source) for source in wanted}
        found[each.name] = {name: value for name, value in values.items() if value is not None}
    return found


def _root(directory: str | None, pod: specs.Pod, container: specs.Container) -> Path | None:
    """The folder of the Secrets that a container may name. It can be absent."""
    if directory is None or images.is_step(pod, container):
        return Path(directory) if directory is not None else None
    account = pod.metadata.labels.get(ACCOUNT, "")
    if not _ACCOUNT.fullmatch(account):
        raise refusals.Refused(refusals.INVALID, f"the pod has no account, so its container {container.name} cannot name a Secret")
    return Path(directory) / ACCOUNTS / account


def _values(root: Path | None, source: specs.SecretSource) -> dict[str, str] | None:
    if not _NAME.fullmatch(source.name) or source.name == ACCOUNTS:
        raise refusals.Refused(refusals.INVALID, f"{source.name!r} is no name of a Secret: lower-case letters, digits, '-' and '.'")
    where = root / source.name if root is not None else None
    try:
        if where is not None and _is_there(where):
            return _files(where)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise refusals.Refused(refusals.CONFIG, f"the Secret {source.name!r} cannot be read: {why}") from error
    if source.optional:
        return None
    advice = f"make the directory {_shown(where)} with a file for each key" if where is not None else "set pods.secrets_dir"
    raise refusals.Refused(refusals.CONFIG, f"there is no Secret {source.name!r} yet: {advice}")


def _is_there(where: Path) -> bool:
    """Whether the folder exists under exactly this name: where capitals do not count, `Acme` would be `acme`."""
    if _of_account(where) and not (where.parent.parent.is_dir() and where.parent.name in os.listdir(where.parent.parent)):
        return False
    return where.is_dir() and where.name in os.listdir(where.parent)


def _of_account(where: Path) -> bool:
    return where.parent.parent.name == ACCOUNTS


def _files(where: Path) -> dict[str, str]:
    files = [file for file in sorted(where.iterdir()) if file.is_file() and not file.name.startswith("..")]
    size = sum(file.stat().st_size for file in files)
    if size > MAX_SECRET_BYTES:
        raise refusals.Refused(refusals.CONFIG, f"the Secret {where.name!r} has {size:,} bytes; {MAX_SECRET_BYTES:,} are allowed")
    return {file.name: file.read_text().removesuffix("\n") for file in files}


def _shown(where: Path) -> str:
    """The folder as people who see the pod may see it: below the setting, not on this machine."""
    parts = where.parts[-3:] if _of_account(where) else where.parts[-1:]
    return "/".join(("pods.secrets_dir", *parts))
