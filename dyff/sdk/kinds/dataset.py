"""The client's group for datasets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dyff.entities.exports import croissant
from dyff.sdk import arguments, arrow, groups, models, requests
from dyff.sdk.calls import Awaited, S, operation

if TYPE_CHECKING:
    import pyarrow as pa


class Datasets(groups.Uploadable[S, models.Dataset, requests.DatasetCreateRequest], groups.Downloadable[S, models.Dataset]):
    """Datasets."""

    @operation
    async def create_arrow_dataset(
        self: Datasets[Awaited], dataset_directory: Path | str, *, account: str, name: str, schema: pa.Schema | None = None
    ) -> models.Dataset:
        """Create a dataset from the Parquet files in a directory. `upload_arrow_dataset` then uploads them.

        Everything that the files reveal is checked first. `docs/datasets.md` says which files and folders count, and how.

        `schema`: of the rows; None for that of the files. Name it to choose the types of columns that come from folders.

        Raises:
            NotInstalled: pyarrow is not installed.
            TypeError, FileNotFoundError, NotADirectoryError: it is not the path of a directory.
            ValueError: the files are no dataset, for instance because an `_index_` occurs twice; the message names the file and the fix.

        Example:
            `dataset = client.datasets.create_arrow_dataset("prompts", account="me", name="prompts")`
        """
        folder = arguments.folder(dataset_directory, "dataset_directory")
        artifacts, declared = await self._http.io.in_thread(_described, folder, schema)
        return await self.create({"account": account, "name": name, "artifacts": artifacts, "schema": declared})

    @operation
    async def upload_arrow_dataset(
        self: Datasets[Awaited], dataset: models.Dataset, dataset_directory: Path | str, *, progress: bool = True
    ) -> None:
        """Upload a dataset's files, in parallel, and finalize it: it becomes `Ready`. A repetition uploads only what is missing.

        Raises:
            NotInstalled: pyarrow is not installed.
            ValueError: a file does not fit the dataset's schema; nothing was sent.

        Example:
            `client.datasets.upload_arrow_dataset(dataset, "prompts")`
        """
        arguments.entity(dataset, "dataset", "Dataset", "artifacts")
        folder, paths = arguments.folder(dataset_directory, "dataset_directory"), [artifact.path for artifact in dataset.artifacts]
        places = await self._http.io.in_thread(_located, folder, paths, dataset.schema.get("arrowSchema"))
        await self._upload(dataset.id, folder, paths, progress, places)

    @operation
    async def croissant(self, id: str, *, license: str | None = None, citation: str | None = None) -> dict[str, Any]:  # noqa: A002
        """Return the dataset in the form of Croissant 1.1 (JSON-LD of MLCommons): its files with digests, and its columns.

        `license`: the URL of a licence, `citation`: how to cite it. Both are your own statements: the platform knows neither.

        Raises:
            Refused: it has no data (yet, or any more).

        Example:
            `client.datasets.croissant(dataset.id, license="https://spdx.org/licenses/CC-BY-4.0")`
        """
        found = await self._http.call("GET", self._path(id, "croissant"))
        return croissant.with_statements(found, license_url=license, citation=citation)


GROUP = Datasets


def _described(folder: Path, schema: pa.Schema | None) -> tuple[list[requests.Artifact], requests.DataSchema]:
    arrow.require("create_arrow_dataset")
    from dyff.sdk import datasets

    return datasets.described(folder, schema)


def _located(folder: Path, paths: list[str], encoded: str | None) -> Mapping[str, Path]:
    arrow.require("upload_arrow_dataset")
    from dyff.sdk import datasets

    return datasets.located(folder, paths, encoded)
