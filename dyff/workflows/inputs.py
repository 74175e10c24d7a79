"""The dataset that an evaluation reads."""

from __future__ import annotations

import anyio.to_thread
import pyarrow as pa
import pyarrow.dataset

from dyff.objects import layout, manifests, port
from dyff.workflows import endings, trees


async def dataset(store: port.Objects, reader: trees.Reader, dataset_id: str) -> pa.dataset.Dataset:
    """Open the dataset with the files in its manifest, or with all listed files if it has no manifest.

    Raises:
        Ending: it has no files, or cannot be read.
    """
    root = layout.root("datasets", dataset_id)
    manifest = await manifests.read(store, root)
    found = trees.stored(await trees.objects(store, root)) if manifest is None else trees.listed(manifest.artifacts)
    if not found:
        raise endings.Ending(endings.WRONG_DATA, f"The dataset {dataset_id} has no files. Upload it again.")
    try:
        return await anyio.to_thread.run_sync(reader.open, found)
    except trees.READ_ERRORS as error:
        raise endings.Ending(endings.WRONG_DATA, f"The dataset {dataset_id} cannot be read: {error}") from error
