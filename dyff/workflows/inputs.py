"""The dataset that an evaluation reads."""

from __future__ import annotations

import anyio.to_thread
import pyarrow as pa
import pyarrow.dataset

from dyff.adapters import fitting
from dyff.kernel import errors
from dyff.objects import layout, manifests, port
from dyff.workflows import endings, trees


async def dataset(store: port.Objects, reader: trees.Reader, dataset_id: str) -> pa.dataset.Dataset:
    """Open the dataset with the files and the schema in its manifest, or with all listed files if it has no manifest.

    Manifests of older releases have no schema: then it is that of the first file, and Arrow guesses the types of partitions, as
    those releases did.

    Raises:
        Ending: it has no files, or cannot be read.
    """
    root = layout.root("datasets", dataset_id)
    manifest = await manifests.read(store, root)
    found = trees.stored(await trees.objects(store, root)) if manifest is None else trees.listed(manifest.artifacts)
    if not found:
        raise endings.Ending(endings.WRONG_DATA, f"The dataset {dataset_id} has no files. Upload it again.")
    try:
        schema = fitting.declared(manifest.schema) if manifest is not None and manifest.schema else None
    except errors.Misconfigured as error:
        raise endings.Ending(endings.WRONG_DATA, f"The schema of the dataset {dataset_id} cannot be read. Upload it again.") from error
    try:
        return await anyio.to_thread.run_sync(reader.rows, found, schema)
    except trees.READ_ERRORS as error:
        raise endings.Ending(endings.WRONG_DATA, f"The dataset {dataset_id} cannot be read: {error}") from error
