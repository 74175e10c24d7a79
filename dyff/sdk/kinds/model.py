"""The client's group for models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dyff.sdk import folders, groups, models, requests, uploads
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
        resources: requests.ModelResources | groups.Other,
        accelerators: Sequence[requests.Accelerator | groups.Other] | None = None,
        include_symlinks: bool = False,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
    ) -> models.Model:
        """Create a model from the files below a directory. `upload_volume` then uploads them.

        `include_symlinks`, `include` and `exclude` select the files: see `client.volumes.list`.

        Raises:
            ValueError: no files are selected.

        Example:
            `model = client.models.create_from_volume("weights", account="me", name="mine", resources={"storage": "1Gi"})`
        """
        paths = folders.list_files(Path(root_directory), include_symlinks, include, exclude)
        if not paths:
            raise ValueError(f"{root_directory} has no files to upload")
        files = await self._http.io.in_thread(_volume_files, Path(root_directory), paths)
        return await self.create(
            {
                "account": account,
                "name": name,
                "artifact": {"kind": "Volume", "volume": {"files": files}},
                "source": {"kind": "Upload"},
                "resources": groups.plain(resources),
                "accelerators": None if accelerators is None else [groups.plain(each) for each in accelerators],
            }
        )

    @operation
    async def upload_volume(self: Models[Awaited], model: models.Model, root_directory: Path | str, *, progress: bool = True) -> None:
        """Upload a model's files, in parallel, and finalize it: it becomes `Ready`. A repetition uploads only what is missing.

        Example:
            `client.models.upload_volume(model, "weights")`
        """
        if model.artifact.volume is None:
            raise ValueError(f"model {model.id} is not made of files (its artifact is {model.artifact.kind})")
        await self._upload(model.id, Path(root_directory), [file.path for file in model.artifact.volume.files], progress)


GROUP = Models


def _volume_files(root: Path, paths: Sequence[Path]) -> list[requests.File]:
    return [
        {"path": path.as_posix(), "size": (root / path).stat().st_size, "digest": {"md5": uploads.md5_of(root / path)}} for path in paths
    ]
