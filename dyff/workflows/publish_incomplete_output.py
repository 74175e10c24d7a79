"""Publishes what there is of the outputs of an evaluation that has failed. Users see it only if they ask for incomplete data.

Run it as `python -m dyff.workflows publish-incomplete-output --manifest FILE`, when neither client nor verification runs any more. It
writes the outputs that were requested, each once and in order, to `outputs/<id>/verified/<attempt>/`, with the recorded errors, and
then the manifest `outputs/<id>/.dyff/incomplete.json`, which is marked incomplete. If nothing was stored, it writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio.to_thread
import pyarrow as pa

from dyff.kernel import errors
from dyff.objects import layout
from dyff.objects import manifests as tree_manifests
from dyff.objects.manifests import Artifact
from dyff.workflows import endings, inputs, items, manifests, releases, trees, verification, verifying
from dyff.workflows.progress import Progress


def main(arguments: list[str]) -> int:
    """Run the step and return its exit code."""
    return endings.run(lambda: _step(arguments))


async def _step(arguments: list[str]) -> None:
    spec, store = manifests.evaluation(arguments, "publish-incomplete-output").spec, manifests.store()
    async with trees.reader(store) as reader:
        dataset = await inputs.dataset(store, reader, spec.dataset)
        expected = await anyio.to_thread.run_sync(items.read_indices, dataset)
        # Never shown: the last progress of the run says more.
        progress = Progress(store, layout.progress("outputs", spec.id), "Publication", len(expected) * spec.replications)
        await _Salvage(store, reader, spec, expected, progress).publish()


class _Salvage(verifying.Verifier):
    """Like a verification, but whatever is missing, twice or strange is left out and is no error."""

    manifest_path = layout.INCOMPLETE

    async def publish(self) -> None:
        """Publish the outputs, if any were stored. If they were published before, their files are checked."""
        if await tree_manifests.read(self._store, self._root) is not None:
            endings.say("the outputs were verified and published: they are complete")
        elif not await self._has_any():
            endings.say("nothing was stored, so there is nothing to publish")
        else:
            await self.verify()

    async def _has_any(self) -> bool:
        kinds = (layout.evaluation_raw, layout.evaluation_errors, layout.evaluation_exchanges)
        return any([await trees.objects(self._store, prefix(self._spec.id)) for prefix in kinds])

    def _manifest(self, artifacts: Sequence[Artifact]) -> tree_manifests.Manifest:
        return tree_manifests.Manifest(artifacts=tuple(artifacts), source=releases.source(), incomplete=True)

    async def _raw(self) -> list[trees.File]:
        """The files that can be read: a damaged one must not hide all others."""
        found = []
        for file in await super()._raw():
            try:
                await self._open([file])
            except (endings.Ending, errors.Damaged) as error:
                endings.say(f"{file.key} is left out: {error}")
            else:
                found.append(file)
        return found

    def _wanted(self, part: verification.Range, table: pa.Table) -> pa.Table:
        return verification.deduplicated(verification.requested(part, table, self._replications))

    def _code(self, findings: verification.Findings) -> int:
        return 0
