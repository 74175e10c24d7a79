"""Verifies the outputs of an evaluation and publishes them. Users see only verified outputs.

Run it as `python -m dyff.workflows verify-evaluation-output --manifest FILE`. It reads the raw outputs of all attempts. If
they are exactly what was requested, it writes them in order to `outputs/<id>/verified/<attempt>/` and then creates the manifest
`outputs/<id>/.dyff/artifacts.json`. If the manifest already exists, it checks that the listed files are complete instead.
"""

from __future__ import annotations

import anyio.to_thread

from dyff.objects import layout
from dyff.workflows import endings, inputs, items, manifests, trees, verifying
from dyff.workflows.progress import Progress, items_of


def main(arguments: list[str]) -> int:
    """Run the step and return its exit code, which is a sum of 1, 2 and 4 if the outputs are wrong."""
    return endings.run(lambda: _step(arguments))


async def _step(arguments: list[str]) -> None:
    spec, store = manifests.evaluation(arguments, "verify-evaluation-output").spec, manifests.store()
    async with trees.reader(store) as reader:
        dataset = await inputs.dataset(store, reader, spec.dataset)
        expected = await anyio.to_thread.run_sync(items.read_indices, dataset)
        key = layout.progress("outputs", spec.id)
        progress, earlier = Progress(store, key, "Verification", len(expected) * spec.replications), await items_of(store, key)
        progress.tally = lambda: earlier
        verifier = verifying.Verifier(store, reader, spec, expected, progress)
        async with progress.shown():
            await verifier.verify()
