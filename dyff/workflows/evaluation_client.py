"""The evaluation client: sends every item of a dataset to a service, once for each replication, and stores the answers.

`python -m dyff.workflows evaluation-client --manifest FILE`, see `manifests` for its input and `endings` for its exit
codes. It may be killed and started again at any time: it does what is missing in the outputs of all attempts.
"""

from __future__ import annotations

import anyio
import anyio.to_thread

from dyff.adapters import pipelines
from dyff.kernel import errors
from dyff.objects import layout, port
from dyff.workflows import endings, exchanges, inference, inputs, items, manifests, outputs, trees
from dyff.workflows.progress import Progress


def main(arguments: list[str]) -> int:
    """Run the step; its exit code."""
    return endings.run(lambda: _step(arguments))


async def _step(arguments: list[str]) -> None:
    manifest = manifests.evaluation(arguments, "evaluation-client")
    if manifest.session is None:
        raise errors.Misconfigured("the manifest has no session: give session.url")
    store, spec = manifests.store(), manifest.spec
    async with trees.reader(store) as reader:
        dataset = await inputs.dataset(store, reader, spec.dataset)
        done = await _done(store, reader, spec)
        indices = await anyio.to_thread.run_sync(items.read_indices, dataset)  # before hours of inference, not after them
        total = len(indices) * spec.replications
        already = sum(len(each) - each.duplicates for each in done.values())
        _check_duplicates(spec, done)
        endings.say(f"evaluation {spec.id}: {total} items in all, {already} already done")
        run = _Run(store, manifest.spec, manifest.session)
        progress = Progress(store, layout.progress("outputs", spec.id), "Inference", total, already)
        async with progress.shown():
            with items.WorkList(dataset, done, run.inputs) as todo:
                complete = await run.work(todo, progress)
    _conclude(spec, progress, complete)


class _Run:
    """One run: what is the same for all of its calls."""

    def __init__(self, store: port.Objects, spec: manifests.Spec, session: manifests.Session) -> None:
        """Everything that can be wrong with the manifest is found here.

        Raises:
            Misconfigured, InvalidFields: it is.
        """
        self._spec, self._session = spec, session
        adapters = [*manifests.adapters(spec.client.input_pipeline), *manifests.adapters(spec.interface.input_pipeline)]
        self.inputs = pipelines.build(adapters, ("inputPipeline",), upload=True)
        self._responses = pipelines.build(manifests.adapters(spec.interface.output_pipeline), ("outputPipeline",))
        schema = outputs.schema(spec.interface.output_schema.arrow_schema)
        self._fields = outputs.response_fields(schema)
        prefix = f"{layout.evaluation_raw(spec.id)}{manifests.attempt()}/"
        self._outputs = outputs.Outputs(store, prefix, schema, spec.client.batch_size)
        template = spec.inference_session.replicas if spec.inference_session else 1
        self._replicas = max(1, session.replicas or template)

    async def work(self, todo: items.WorkList, progress: Progress) -> bool:
        """Make all calls; False: the time was up first."""
        with anyio.move_on_after(self._spec.client.total_timeout_seconds or None) as limit:
            async with self._service() as service, self._outputs.stored():
                calls = inference.Inference(service, self._spec.interface.endpoint, self._spec.client, self._responses)
                await calls.ready(self._session.readiness_path)
                endings.say(f"the service at {self._session.url} is ready")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(todo.produce)
                    for _ in range(self._replicas * max(1, self._spec.workers_per_replica)):
                        tasks.start_soon(self._worker, todo, calls, progress)
        return not limit.cancelled_caught

    def _service(self) -> exchanges.Service:
        try:
            return exchanges.Service(self._session.url, keep_open=self._replicas == 1)
        except ValueError as error:
            raise errors.Misconfigured(f"session.url: {error}") from error

    async def _worker(self, todo: items.WorkList, calls: inference.Inference, progress: Progress) -> None:
        while (call := await todo.take()) is not None:
            responses = await calls.infer(call)
            await self._outputs.add(outputs.row(call, responses, self._fields))
            progress.done += 1


async def _done(store: port.Objects, reader: trees.Reader, spec: manifests.Spec) -> dict[str, items.Indices]:
    """What earlier attempts have stored, by replication."""
    raw = [(info.key, info.size_bytes) for info in await trees.objects(store, layout.evaluation_raw(spec.id))]
    try:
        return await anyio.to_thread.run_sync(lambda: items.read_done(reader.open(raw), spec.replication_ids()))
    except trees.READ_ERRORS as error:
        raise endings.Ending(endings.OUTPUT_ERROR, f"The outputs of earlier attempts cannot be read: {error}") from error


def _check_duplicates(spec: manifests.Spec, done: dict[str, items.Indices]) -> None:
    duplicates = sum(each.duplicates for each in done.values())
    if duplicates and spec.client.duplicate_output_policy == "Error":
        message = f"{duplicates} outputs were stored twice by earlier attempts, and client.duplicateOutputPolicy is Error."
        raise endings.Ending(endings.OUTPUT_ERROR, f"{message} Create the evaluation again, or use Deduplicate.")


def _conclude(spec: manifests.Spec, progress: Progress, complete: bool) -> None:
    if complete:
        endings.say(f"done: {progress.done} of {progress.total} items")
        return
    limit_s, said = spec.client.total_timeout_seconds, f"{progress.done} of {progress.total} items were done"
    if spec.client.missing_output_policy != "Ignore":
        hint = "Raise it, or give the session more replicas."
        raise endings.Ending(endings.INCOMPLETE, f"The time was up: {said} within client.totalTimeoutSeconds={limit_s:g}. {hint}")
    endings.say(f"the time was up: {said}; client.missingOutputPolicy says to go on")
