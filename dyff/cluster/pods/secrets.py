"""The local cluster's Secrets: files `NAME/KEY` in a directory, as in a mounted Secret."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dyff.cluster.pods import refusals, specs

Secrets = Mapping[str, Mapping[str, str]]
"""Values of Secrets, by name and key."""


def read(directory: str | None, pod: specs.Pod) -> Secrets:
    """All Secrets from which the pod's containers take variables. `directory`: None if there are no Secrets. Blocks on the disk.

    A line break at the end of a file, which editors add, is not part of the value.

    Raises:
        Refused: a Secret does not exist, or cannot be read.
    """
    every = (*pod.spec.init_containers, *pod.spec.containers)
    wanted = {source.secret_ref for each in every for source in each.env_from if source.secret_ref is not None}
    found = {source.name: _values(directory, source) for source in wanted}
    return {name: values for name, values in found.items() if values is not None}


def _values(directory: str | None, source: specs.SecretSource) -> dict[str, str] | None:
    where = Path(directory) / source.name if directory is not None else None
    try:
        if where is not None and where.is_dir():
            files = [file for file in sorted(where.iterdir()) if file.is_file() and not file.name.startswith("..")]
            return {file.name: file.read_text().removesuffix("\n") for file in files}
    except (OSError, UnicodeDecodeError) as error:
        raise refusals.Refused(refusals.CONFIG, f"the Secret {source.name!r} cannot be read: {error}") from error
    if source.optional:
        return None
    advice = f"make the directory {where} with a file for each key" if where is not None else "set pods.secrets_dir"
    raise refusals.Refused(refusals.CONFIG, f"there is no Secret {source.name!r} yet: {advice}")
