"""The client's group for modules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dyff.sdk import arguments, folders, groups, models, requests, uploads
from dyff.sdk.calls import Awaited, S, operation


class Modules(groups.Uploadable[S, models.Module, requests.ModuleCreateRequest], groups.Downloadable[S, models.Module]):
    """Modules."""

    @operation
    async def create_package(
        self: Modules[Awaited],
        root_directory: Path | str,
        *,
        account: str,
        name: str,
        include_symlinks: bool = False,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        idempotency_key: str | None = None,
    ) -> models.Module:
        """Create a module from the files below a directory, from which Python will import. `upload_package` then uploads them.

        `include_symlinks`, `include` and `exclude` select the files: see `client.volumes.list`. `idempotency_key`: see `create`.

        Raises:
            TypeError, FileNotFoundError, NotADirectoryError: it is not the path of a directory.
            ValueError: no files are selected.

        Example:
            `module = client.modules.create_package("my_method", account="me", name="my-method", exclude=["__pycache__"])`
        """
        root = arguments.folder(root_directory, "root_directory")
        paths = folders.list_files(root, include_symlinks, include, exclude)
        if not paths:
            raise ValueError(f"root_directory: {str(root)!r} has no files to upload")
        artifacts = await self._http.io.in_thread(_artifacts, root, paths)
        return await self.create({"account": account, "name": name, "artifacts": artifacts}, idempotency_key=idempotency_key)

    @operation
    async def upload_package(
        self: Modules[Awaited], module: models.Module, package_directory: Path | str, *, progress: bool = True
    ) -> None:
        """Upload a module's files, in parallel, and finalize it: it becomes `Ready`. A repetition uploads only what is missing.

        Example:
            `client.modules.upload_package(module, "my_method")`
        """
        arguments.entity(module, "module", "Module", "artifacts")
        root = arguments.folder(package_directory, "package_directory")
        await self._upload(module.id, root, [artifact.path for artifact in module.artifacts], progress)


GROUP = Modules


def _artifacts(root: Path, paths: Sequence[Path]) -> list[requests.Artifact]:
    return [{"kind": "".join(path.suffixes), "path": path.as_posix(), "digest": {"md5": uploads.md5_of(root / path)}} for path in paths]
