"""The evaluation client: sends every item of a dataset to a service, once for each replication, and stores the answers.

Run it as `python -m dyff.workflows evaluation-client --manifest FILE`. See `manifests` for its input and `endings` for its
exit codes. It can be killed and restarted at any time: it does only the items that are missing in the outputs of all attempts.
"""

from __future__ import annotations

import anyio
import anyio.to_thread

from dyff.adapters import fitting, pipelines
from dyff.entities import specs
from dyff.kernel import errors
from dyff.objects import layout, port
from dyff.workflows import endings, exchanges, inference, inputs, items, kept, manifests, outputs, pacing, trees
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
        run = _Run(store, manifest.spec, manifest.session, await _kept(store, spec))
        progress = Progress(store, layout.progress("outputs", spec.id), "Inference", total, already)
        progress.tally = lambda: {"done": min(progress.done, total - run.given_up), "errors": run.given_up, "total": total}
        async with progress.shown():
            if already < total:  # otherwise the service is not needed, and may no longer exist
                with items.WorkList(dataset, done, run.adapters, skip=spec.client.bad_request_policy == "Skip") as todo:
                    await run.work(todo, progress)
                    progress.done -= run.unstored
    _conclude(spec, progress, run)


class _Run:
    """One run: the state that all of its calls share.

    `cut_short`: why it ended before all items were tried; empty if it did not. `last_failure`: of the items that were given up.
    """

    def __init__(self, store: port.Objects, spec: specs.Evaluation, session: manifests.Session, keep: kept.Kept) -> None:
        """Checks the manifest's pipelines and schema. `keep`: collects the exchanges.

        Raises:
            Misconfigured, InvalidFields: one of them is wrong.
        """
        self._spec, self._session = spec, session
        self.adapters = [*manifests.adapters(spec.client.input_pipeline), *manifests.adapters(spec.interface.input_pipeline)]
        pipelines.build(self.adapters, ("inputPipeline",), upload=True)  # to report what is wrong before anything else
        self._responses = pipelines.build(manifests.adapters(spec.interface.output_pipeline), ("outputPipeline",))
        declared = fitting.declared(spec.interface.output_schema.arrow_schema)
        schema, self._check = fitting.completed(declared), fitting.check(declared)
        attempt = manifests.attempt()
        prefixes = f"{layout.evaluation_raw(spec.id)}{attempt}/", f"{layout.evaluation_errors(spec.id)}{attempt}/"
        self._keep = keep if keep.is_on else None
        stored = outputs.Exchanges(keep, f"{layout.evaluation_exchanges(spec.id)}{attempt}/") if keep.is_on else None
        self._outputs = outputs.Outputs(store, *prefixes, schema, spec.client.batch_size, stored)
        self._given_up = 0
        self.cut_short = self.last_failure = ""
        template = spec.inference_session.replicas if spec.inference_session else 1
        self._replicas = max(1, session.replicas or template)

    @property
    def unstored(self) -> int:
        """The number of items with responses that could not be stored."""
        return self._outputs.unfit

    @property
    def given_up(self) -> int:
        """The number of items that this run has given up."""
        return self._given_up + self.unstored

    async def work(self, todo: items.WorkList, progress: Progress) -> None:
        """Make all calls, or as many as the time allows.

        Raises:
            Ending: the run has to end for another reason.
        """
        limit_s = self._spec.client.total_timeout_seconds
        try:
            with anyio.move_on_after(limit_s or None) as limit:
                async with self._service() as service, self._outputs.stored():
                    calls = inference.Inference(
                        service, self._spec.interface.endpoint, self._spec.client, self._responses, self._check,
                        keep=self._keep, already=progress.done, left_s=lambda: limit.deadline - anyio.current_time(),
                    )  # fmt: skip
                    progress.describe = calls.message
                    try:
                        await self._all(todo, calls, progress)
                    finally:
                        self._outputs.note([failure.row(call.index, call.replication) for call, failure in calls.unresolved])
        except* pacing.OutOfTime as group:
            self.cut_short = str(endings.first(group))
        if limit.cancelled_caught:
            self.cut_short = f"The time was up (client.totalTimeoutSeconds={limit_s:g}). Raise it, or give the session more replicas."

    async def _all(self, todo: items.WorkList, calls: inference.Inference, progress: Progress) -> None:
        await calls.ready(self._session.readiness_path)
        endings.say(f"the service at {self._session.url} is ready")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(todo.produce)
            for _ in range(self._replicas * max(1, self._spec.workers_per_replica)):
                tasks.start_soon(self._worker, todo, calls, progress)
        calls.conclude()

    def _service(self) -> exchanges.Service:
        try:
            return exchanges.Service(self._session.url, keep_open=self._replicas == 1)
        except ValueError as error:
            raise errors.Misconfigured(f"session.url: {error}") from error

    async def _worker(self, todo: items.WorkList, calls: inference.Inference, progress: Progress) -> None:
        while (call := await todo.take()) is not None:
            try:
                await self._do(call, calls, progress)
            finally:
                todo.ended(call)
            del call  # else its body stays in memory until there is another one

    async def _do(self, call: items.Call, calls: inference.Inference, progress: Progress) -> None:
        result = inference.Result(None, 0, call.failure) if call.failure else await calls.infer(call)
        failure = result.failure
        if failure is None:
            await self._outputs.add(outputs.row(call, result.responses), None, result.size_bytes)
            progress.done += 1
            return
        row = None if failure.is_given_up else outputs.row(call, None)
        await self._outputs.add(row, failure.row(call.index, call.replication))
        if failure.is_given_up:
            self._given_up += 1
            self.last_failure = f"; the last, {call}: {failure.message}"
        progress.done += not failure.is_given_up


async def _kept(store: port.Objects, spec: specs.Evaluation) -> kept.Kept:
    """Where to keep exchanges, with what earlier attempts have left of the limit."""
    stored = await trees.objects(store, layout.evaluation_exchanges(spec.id))
    return kept.Kept(kept.limits(), spec.interface.endpoint, sum(each.size_bytes for each in stored))


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


def _conclude(spec: specs.Evaluation, progress: Progress, run: _Run) -> None:
    said = f"{progress.done} of {progress.total} items were done"
    if not run.cut_short and not run.given_up:
        endings.say(f"done: {progress.done} of {progress.total} items")
        return
    given_up = f"{run.given_up} items were given up (.dyff/errors.parquet says why){run.last_failure}." if run.given_up else ""
    summary = f"{said}. {' '.join(filter(None, [run.cut_short, given_up]))}"
    if spec.client.missing_output_policy != "Ignore":
        raise endings.Ending(endings.INCOMPLETE, summary)
    endings.say(f"{summary} client.missingOutputPolicy says to go on.")
