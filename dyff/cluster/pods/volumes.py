"""A pod's volumes as directories: empty ones, and ones that contain a ConfigMap's values."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path, PurePosixPath

from dyff.cluster import port
from dyff.cluster.pods import refusals, specs

Contents = dict[str, dict[str, bytes]]
"""Contents of files, by volume and by path below the volume."""


async def gather(cluster: port.Cluster, pod: specs.Pod) -> Contents:
    """The initial contents of the pod's volumes.

    Raises:
        Refused: a ConfigMap does not exist (yet), or a volume has a type that the local cluster does not support.
    """
    contents: Contents = {}
    for volume in pod.spec.volumes:
        if volume.config_map is not None:
            contents[volume.name] = _files(volume, await cluster.get(port.CONFIG_MAP, volume.config_map.name))
        elif volume.empty_dir is not None:
            contents[volume.name] = {}
        else:
            raise refusals.Refused(refusals.INVALID, f"volume {volume.name}: the local cluster has emptyDir and configMap volumes only")
    return contents


def write(root: Path, contents: Contents) -> None:
    """Create the volumes below `root`. Files that containers wrote into them in an earlier run are kept."""
    for volume, files in contents.items():
        (root / volume).mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, value in files.items():
            target = root / volume / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(value)


def _files(volume: specs.Volume, config_map: port.Object | None) -> dict[str, bytes]:
    source = volume.config_map
    if source is None or (config_map is None and source.optional):
        return {}
    if config_map is None:
        raise refusals.Refused(refusals.CONFIG, f"volume {volume.name}: there is no ConfigMap {source.name!r} yet")
    values = {key: text.encode() for key, text in (config_map.get("data") or {}).items()}
    try:
        values |= {key: base64.b64decode(text, validate=True) for key, text in (config_map.get("binaryData") or {}).items()}
    except binascii.Error as error:
        raise refusals.Refused(refusals.CONFIG, f"ConfigMap {source.name}: binaryData is not base64: {error}") from error
    wanted = {item.path: item.key for item in source.items} or {key: key for key in values}
    missing = sorted(key for key in wanted.values() if key not in values)
    if missing and not source.optional:
        raise refusals.Refused(refusals.CONFIG, f"volume {volume.name}: the ConfigMap {source.name!r} has no key {missing[0]!r}")
    return {_inside(volume, path): values[key] for path, key in wanted.items() if key in values}


def _inside(volume: specs.Volume, path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise refusals.Refused(refusals.INVALID, f"volume {volume.name}: the path {path!r} leaves it")
    return path
