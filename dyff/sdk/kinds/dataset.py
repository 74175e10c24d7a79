"""The client's group for datasets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dyff.sdk import folders, groups, models, schemas, uploads
from dyff.sdk.calls import Awaited, S, operation


class Datasets(groups.Uploadable[S, models.Dataset], groups.Downloadable[S, models.Dataset]):
    """Datasets."""

    @operation
    async def create_arrow_dataset(self: Datasets[Awaited], dataset_directory: Path | str, *, account: str, name: str) -> models.Dataset:
        """Create a dataset from the Parquet files in a directory. `upload_arrow_dataset` then uploads them.

        Raises:
            ValueError: the rows have no `_index_`, or the directory has no data.

        Example:
            `dataset = client.datasets.create_arrow_dataset("prompts", account="me", name="prompts")`
        """
        declared = await self._http.io.in_thread(_arrow_dataset, Path(dataset_directory))
        return await self.create({"account": account, "name": name, **declared})

    @operation
    async def upload_arrow_dataset(
        self: Datasets[Awaited], dataset: models.Dataset, dataset_directory: Path | str, *, progress: bool = True
    ) -> None:
        """Upload a dataset's files, in parallel, and finalize it: it becomes `Ready`. A repetition uploads only what is missing.

        Example:
            `client.datasets.upload_arrow_dataset(dataset, "prompts")`
        """
        await self._upload(dataset.id, Path(dataset_directory), [artifact.path for artifact in dataset.artifacts], progress)


GROUP = Datasets


def _arrow_dataset(folder: Path) -> Mapping[str, Any]:
    """The artifacts and the schema of the files in a directory."""
    import pyarrow.dataset

    folders.require_text(each for each in (folder, *folder.rglob("*")) if each == folder or each.is_file())
    found = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive", ignore_prefixes=[".", "_"])
    if not found.files:
        raise ValueError(f"{folder} has no Parquet files")
    if "_index_" not in found.schema.names:
        raise ValueError("each row needs an `_index_` of type int64 that is unique in the dataset; add that column")
    paths = [Path(file).relative_to(folder).as_posix() for file in found.files]
    artifacts = [{"kind": "parquet", "path": path, "digest": {"md5": uploads.md5_of(folder / path)}} for path in paths]
    return {"artifacts": artifacts, "schema": schemas.encode(found.schema)}
