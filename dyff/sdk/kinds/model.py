"""The client's group for models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dyff.sdk import arguments, folders, groups, models, requests, sent, uploads
from dyff.sdk.calls import Awaited, S, operation


class Models(
    groups.Uploadable[S, models.Model, requests.ModelCreateRequest], groups.Downloadable[S, models.Model], groups.Logged[S, models.Model]
):
    """Models."""

    @operation
    async def create_from_volume(
        self: Models[Awaited],
        root_directory: Path | str,
        *,
        account: str,
        name: str,
        resources: requests.ModelResources | sent.Other,
        accelerators: Sequence[requests.Accelerator | sent.Other] | None = None,
        include_symlinks: bool = False,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
    ) -> models.Model:
        """Create a model from the files below a directory. `upload_volume` then uploads them.

        `include_symlinks`, `include` and `exclude` select the files: see `client.volumes.list`.

        Raises:
            TypeError, FileNotFoundError, NotADirectoryError: it is not the path of a directory, or another argument is not of its type.
            ValueError: no files are selected.

        Example:
            `model = client.models.create_from_volume("weights", account="me", name="mine", resources={"storage": "1Gi"})`
        """
        root = arguments.folder(root_directory, "root_directory")
        wanted = sent.plain(resources, name="resources")
        hardware = None if accelerators is None else [sent.plain(each, name="accelerators") for each in _several(accelerators)]
        paths = folders.list_files(root, include_symlinks, include, exclude)
        if not paths:
            raise ValueError(f"root_directory: {str(root)!r} has no files to upload")
        files = await self._http.io.in_thread(_volume_files, root, paths)
        return await self.create(
            {
                "account": account,
                "name": name,
                "artifact": {"kind": "Volume", "volume": {"files": files}},
                "source": {"kind": "Upload"},
                "resources": wanted,
                "accelerators": hardware,
            }
        )

    @operation
    async def upload_volume(self: Models[Awaited], model: models.Model, root_directory: Path | str, *, progress: bool = True) -> None:
        """Upload a model's files, in parallel, and finalize it: it becomes `Ready`. A repetition uploads only what is missing.

        Example:
            `client.models.upload_volume(model, "weights")`
        """
        arguments.entity(model, "model", "Model", "artifact")
        root = arguments.folder(root_directory, "root_directory")
        if model.artifact.volume is None:
            raise ValueError(f"model {model.id} is not made of files (its artifact is {model.artifact.kind})")
        await self._upload(model.id, root, [file.path for file in model.artifact.volume.files], progress)


GROUP = Models


def _several(accelerators: Sequence[Any]) -> Sequence[Any]:
    if not isinstance(accelerators, list | tuple):
        raise TypeError(f"accelerators: must be a list of dicts, not {arguments.called(accelerators)}")
    return accelerators


def _volume_files(root: Path, paths: Sequence[Path]) -> list[requests.File]:
    return [
        {"path": path.as_posix(), "size": (root / path).stat().st_size, "digest": {"md5": uploads.md5_of(root / path)}} for path in paths
    ]
