"""The evaluation client: sends every item of a dataset to a service, once for each replication, and stores the answers.

Run it as `python -m dyff.workflows evaluation-client --manifest FILE`. See `manifests` for its input and `endings` for its
exit codes. It can be killed and restarted at any time: it does only the items that are missing in the outputs of all attempts.
"""

from __future__ import annotations

import anyio
import anyio.to_thread

from dyff.adapters import pipelines
from dyff.entities import specs
from dyff.kernel import errors
from dyff.objects import layout, port
from dyff.workflows import endings, exchanges, failures, inference, inputs, items, manifests, outputs, trees
from dyff.workflows.progress import Progress


def main(arguments: list[str]) -> int:
    """Run the step and return its exit code."""
    return endings.run(lambda: _step(arguments))


async def _step(arguments: list[str]) -> None:
    manifest = manifests.evaluation(arguments, "evaluation-client")
    if manifest.session is None:
        raise errors.Misconfigured("the manifest has no session: give session.url")
    store, spec = manifests.store(), manifest.spec
    async with trees.reader(store) as reader:
        dataset = await inputs.dataset(store, reader, spec.dataset)
        done = await _done(store, reader, spec)
        indices = await anyio.to_thread.run_sync(items.read_indices, dataset)  # find bad indices before hours of inference, not after them
        total = len(indices) * spec.replications
        already = sum(len(each) - each.duplicates for each in done.values())
        _check_duplicates(spec, done)
        _say_options(spec)
        endings.say(f"evaluation {spec.id}: {total} items in all, {already} already done")
        run = _Run(store, manifest.spec, manifest.session)
        progress = Progress(store, layout.progress("outputs", spec.id), "Inference", total, already)
        in_time = True
        async with progress.shown():
            if already < total:  # otherwise the service is not needed, and may no longer exist
                with items.WorkList(dataset, done, run.inputs, skip=spec.client.bad_request_policy == "Skip") as todo:
                    in_time = await run.work(todo, progress)
    _conclude(spec, progress, in_time=in_time, given_up=run.given_up)


class _Run:
    """One run: the state that all of its calls share."""

    def __init__(self, store: port.Objects, spec: specs.Evaluation, session: manifests.Session) -> None:
        """Checks the manifest's pipelines and schema.

        Raises:
            Misconfigured, InvalidFields: one of them is wrong.
        """
        self._spec, self._session = spec, session
        adapters = [*manifests.adapters(spec.client.input_pipeline), *manifests.adapters(spec.interface.input_pipeline)]
        self.inputs = pipelines.build(adapters, ("inputPipeline",), upload=True)
        self._responses = pipelines.build(manifests.adapters(spec.interface.output_pipeline), ("outputPipeline",))
        schema = outputs.schema(spec.interface.output_schema.arrow_schema)
        self._fields = outputs.response_fields(schema)
        attempt = manifests.attempt()
        prefixes = f"{layout.evaluation_raw(spec.id)}{attempt}/", f"{layout.evaluation_errors(spec.id)}{attempt}/"
        self._outputs = outputs.Outputs(store, *prefixes, schema, spec.client.batch_size)
        self.given_up = 0
        template = spec.inference_session.replicas if spec.inference_session else 1
        self._replicas = max(1, session.replicas or template)

    async def work(self, todo: items.WorkList, progress: Progress) -> bool:
        """Make all calls; False if the time limit was reached first."""
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
            result = inference.Result(None, 0, call.failure) if call.failure else await calls.infer(call)
            failure = result.failure
            if failure is None:
                await self._outputs.add(outputs.row(call, result.responses, self._fields), None, result.size_bytes)
                progress.done += 1
                continue
            given_up = failure.error == failures.TRANSIENT_ERRORS
            row = None if given_up else outputs.row(call, None, self._fields)
            await self._outputs.add(row, failure.row(call.index, call.replication))
            self.given_up += given_up
            progress.done += not given_up


async def _done(store: port.Objects, reader: trees.Reader, spec: specs.Evaluation) -> dict[str, items.Indices]:
    """The indices that earlier attempts have stored, by replication."""
    raw = trees.stored(await trees.objects(store, layout.evaluation_raw(spec.id)))
    try:
        return await anyio.to_thread.run_sync(lambda: items.read_done(reader.open(raw), manifests.replication_ids(spec)))
    except trees.READ_ERRORS as error:
        raise endings.Ending(endings.OUTPUT_ERROR, f"The outputs of earlier attempts cannot be read: {error}") from error


def _say_options(spec: specs.Evaluation) -> None:
    if spec.client.extra_options:
        names = ", ".join(map(repr, sorted(spec.client.extra_options)))
        endings.say(f"client.extraOptions are for other clients: this one has no such options ({names}), and ignores them")


def _check_duplicates(spec: specs.Evaluation, done: dict[str, items.Indices]) -> None:
    duplicates = sum(each.duplicates for each in done.values())
    if duplicates and spec.client.duplicate_output_policy == "Error":
        message = f"{duplicates} outputs were stored twice by earlier attempts, and client.duplicateOutputPolicy is Error."
        raise endings.Ending(endings.OUTPUT_ERROR, f"{message} Create the evaluation again, or use Deduplicate.")


def _conclude(spec: specs.Evaluation, progress: Progress, *, in_time: bool, given_up: int) -> None:
    said = f"{progress.done} of {progress.total} items"
    if in_time and not given_up:
        endings.say(f"done: {said}")
        return
    if in_time:
        why, hint = f"{given_up} items were given up after a hundred tries or more: {said} were done", "The lines above name them."
    else:
        limit_s = spec.client.total_timeout_seconds
        why = f"The time was up: {said} were done within client.totalTimeoutSeconds={limit_s:g}"
        hint = "Raise it, or give the session more replicas."
    if spec.client.missing_output_policy != "Ignore":
        raise endings.Ending(endings.INCOMPLETE, f"{why}. {hint}")
    endings.say(f"{why}; client.missingOutputPolicy says to go on")
