"""Writes image archives of one layer, like `docker save`, without a container builder. The same files give the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def write(out: Path, name: str, config: Mapping[str, Any], *, root: Path | None = None, files: Mapping[str, Path] | None = None) -> None:
    """Write the archive `out` of an image called `name` (with its tag).

    `config`: the configuration of the image, such as `{"Entrypoint": [...]}`. `root`: a folder with the file system. `files`:
    programs to add, by their path in the image.
    """
    with tempfile.NamedTemporaryFile(dir=out.parent) as layer:
        with tarfile.open(fileobj=layer, mode="w", format=tarfile.GNU_FORMAT) as tar:
            if root is not None:
                for path in _sorted(root):
                    tar.add(path, str(path.relative_to(root)), recursive=False, filter=_normal)
            for inside, file in sorted((files or {}).items()):
                _add(tar, inside.lstrip("/"), file.read_bytes(), 0o755)
        layer.flush()
        _wrap(out, name, config, Path(layer.name))


def variant(source: Path, out: Path, name: str, config: Mapping[str, Any]) -> None:
    """Write another image with the files of the archive `source`, for example with another entry point.

    Raises:
        ValueError: `source` was not written by this module.
    """
    with tempfile.NamedTemporaryFile(dir=out.parent) as layer:
        with tarfile.open(source) as tar:
            found = tar.extractfile("layer.tar") if "layer.tar" in tar.getnames() else None
            if found is None:
                raise ValueError(f"{source} was not written here")
            shutil.copyfileobj(found, layer, _CHUNK)
        layer.flush()
        _wrap(out, name, config, Path(layer.name))


def _wrap(out: Path, name: str, config: Mapping[str, Any], layer: Path) -> None:
    described = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}"]},
        "history": [{"created_by": "image/archive.py"}],
    }
    body = json.dumps(described, sort_keys=True).encode()
    called = f"{hashlib.sha256(body).hexdigest()}.json"
    with tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as tar:
        _add(tar, called, body)
        _add(tar, "manifest.json", json.dumps([{"Config": called, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode())
        tar.add(layer, "layer.tar", filter=_normal)


def _sorted(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        found += [Path(folder) / each for each in (*folders, *names)]
    return sorted(found)


def _normal(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mtime, info.uname, info.gname = 0, "", ""
    return info


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
