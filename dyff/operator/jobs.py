"""Steps as Jobs: the objects that a step needs, how a Job ended, and what it is waiting for. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from dyff.cluster import conditions, port
from dyff.kernel import clock
from dyff.operator import plan, pods, reasons, steps
from dyff.operator.manifests import configmap, job, metadata

_SLACK_S = 30.0
"""Grace period after a Job's own deadline before we declare it overdue ourselves, for instance because its node is lost."""


_TROUBLE = ("retry: ", "trying again", "no calls until", "waiting for")
"""How lines of the evaluation client begin that say what it retries or waits for."""

_SAID = 900


SUCCEEDED = "Succeeded"
"""What the status says of a step that has succeeded."""


class Outcome(msgspec.Struct, frozen=True):
    """How a step ended."""

    succeeded: bool
    reason: str = ""
    message: str = ""


def name(observed: plan.Observed, step: steps.Step) -> str:
    """The name of a step's Job and ConfigMap."""
    return f"{observed.request.name}-{step.component}"


def refs(resource_name: str, *of: steps.Step) -> tuple[plan.Ref, ...]:
    """The Jobs and ConfigMaps of some steps."""
    return tuple(plan.Ref(kind, f"{resource_name}-{step.component}") for step in of for kind in (port.CONFIG_MAP, port.JOB))


def ensure(
    observed: plan.Observed,
    step: steps.Step,
    setup: plan.Setup,
    *,
    manifest: dict[str, Any],
    deadline_s: int,
    requests: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    secrets: tuple[str, ...] = (),
    around: job.Around | None = None,
) -> Iterator[plan.Action]:
    """Actions that are missing for the step to run with `manifest`. A Job that is being deleted has to disappear first.

    `env`, `secrets`: as in `containers.step`. `around`: the rest of its pod; None if it is alone in it.
    """
    resource, called = observed.present, name(observed, step)
    wanted = configmap.build(resource, called, step.component, manifest)
    found = observed.get(port.CONFIG_MAP, called)
    if found is None:
        yield plan.Create(port.CONFIG_MAP, wanted)
    elif found.get("data") != wanted["data"]:
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        yield plan.Patch(port.CONFIG_MAP, called, {"metadata": version, "data": wanted["data"]})
    if observed.get(port.JOB, called) is None:
        run = job.Run(
            name=called,
            component=step.component,
            program=step.program,
            retries=step.retries,
            final_codes=step.final_codes,
            deadline_s=deadline_s,
            requests=requests or {},
            env=env or {},
            secrets=secrets,
            around=around or job.Around(),
        )
        yield plan.Create(port.JOB, job.build(resource, run, setup))


def ended(found: port.Object) -> str | None:
    """`Complete` or `Failed`; None unless it is certain that the Job has ended."""
    return next((each for each in (conditions.COMPLETE, conditions.FAILED) if conditions.is_true(found, each)), None)


def ending(found: port.Object) -> bool:
    """Whether a Job has ended, or its controller has decided that it ends as soon as its pods have."""
    return ended(found) is not None or _is_late(found)


def _is_late(found: port.Object) -> bool:
    target = conditions.true_condition(found, "FailureTarget")
    return target is not None and target.get("reason") == "DeadlineExceeded"


def outcome(observed: plan.Observed, step: steps.Step, now: datetime, setup: plan.Setup) -> Outcome | None:
    """How the step ended, from the resource's status if it is recorded there, otherwise from its Job. None if it has not ended."""
    recorded = ((observed.present.get("status") or {}).get("steps") or {}).get(step.component)
    if recorded == SUCCEEDED:
        return Outcome(True)
    found = observed.get(port.JOB, name(observed, step))
    if found is None:
        return None
    if ended(found) == "Complete":
        return Outcome(True)
    own_pods = pods.of_owner(observed.pods, found["metadata"]["uid"])
    if ended(found) == "Failed":
        return _failed(observed, step, found, own_pods)
    if _is_late(found):
        return Outcome(False, reasons.DEADLINE_EXCEEDED, _late(step, found, _waiting(own_pods) or _before(observed)))
    blocked = pods.not_runnable(own_pods, now, setup.operator.image_pull_patience_s)
    if blocked:
        return Outcome(False, reasons.IMAGE_NOT_RUNNABLE, f"{step.title} cannot start: {blocked}")
    halted = pods.halted(own_pods, observed.logs)
    if halted is not None:
        return _judged(step, halted)
    due = overdue(found)
    if due is not None and now > due:
        return Outcome(False, reasons.DEADLINE_EXCEEDED, _late(step, found, _waiting(own_pods) or _before(observed)))
    return None


def overdue(found: port.Object) -> datetime | None:
    """The time by which a Job's own deadline must have ended it; None while it is suspended, for instance because it waits in a queue.

    The time counts from when the Job runs, by the server's clock. It begins again after each suspension.
    """
    if suspended(found):
        return None
    resumed = conditions.get(found, "Suspended") or {}
    begun = (found.get("status") or {}).get("startTime") or resumed.get("lastTransitionTime") or found["metadata"]["creationTimestamp"]
    return clock.parse_iso(begun) + timedelta(seconds=found["spec"]["activeDeadlineSeconds"] + _SLACK_S)


def suspended(found: port.Object) -> bool:
    """Whether a Job may not run now. The condition follows the field a little later, in both directions."""
    return bool(found["spec"].get("suspend")) or conditions.is_true(found, "Suspended")


def progress(observed: plan.Observed, step: steps.Step) -> str:
    """What an unfinished step is doing, as a message for people."""
    found = observed.get(port.JOB, name(observed, step))
    if found is None:
        refused = conditions.true_condition(observed.present, "Refused")
        return f"{step.title} cannot start: {refused['message']}" if refused else f"{step.title} is about to start"
    if pods.deleting(found):
        return f"{step.title} was deleted by someone; it starts again when its pods are gone"
    own_pods = pods.of_owner(observed.pods, found["metadata"]["uid"])
    living = [pod for pod in own_pods if pods.live(pod)]
    reported = _reported_of(observed, step)
    if reported and living and all(map(pods.deleting, living)):
        return reported  # a pod that is being terminated no longer shows what it was waiting for
    if suspended(found):
        return f"{step.title} is suspended, as by a queue of the cluster; its deadline begins when it is resumed"
    doing = _doing(step, living)
    if doing:
        return f"{step.title} is {doing}{_attempts(found, own_pods, observed.logs)}"
    waits = pods.waiting([pod for pod in living if not _runs(pod)])
    if waits or not living:
        return f"{step.title} waits to start" + (f" ({waits})" if waits else _attempts(found, own_pods, observed.logs))
    lost = pods.lost(living)
    trouble = next((said for pod in living if (said := observed.says.get(pod["metadata"]["name"], "")).startswith(_TROUBLE)), "")
    said = f": {trouble[:_SAID]}" if trouble else ""
    return f"{step.title} is running" + (f" ({lost})" if lost else _attempts(found, own_pods, observed.logs)) + said


def _doing(step: steps.Step, living: list[port.Object]) -> str:
    """What the container that runs does, of a step that has several; empty if none runs, or its node does not answer."""
    if not step.parts or pods.lost(living):
        return ""
    return next((step.part(name).doing for pod in living if (name := pods.at_work(pod)) is not None), "")


def _waiting(own_pods: list[port.Object]) -> str:
    return pods.waiting([pod for pod in own_pods if not pods.deleting(pod)])


def _reported_of(observed: plan.Observed, step: steps.Step) -> str:
    """What the status says about this step, without anything that it says about a session."""
    reported = (conditions.get(observed.present, conditions.COMPLETE) or {}).get("message") or ""
    return str(reported).partition("; the inference session")[0] if reported.startswith(step.title) else ""


def _runs(pod: port.Object) -> bool:
    return bool((pod.get("status") or {}).get("phase") == "Running")


def _attempts(found: port.Object, own_pods: list[port.Object], logs: Mapping[str, str]) -> str:
    """How many attempts failed, and how the last one failed. A pod that someone deleted still counts as an attempt."""
    ended = [pod for pod in own_pods if not pods.live(pod)]
    tries = max(len(ended), int((found.get("status") or {}).get("failed") or 0))
    if not tries:
        return ""
    last = pods.last_failure(ended, logs)
    reported = f"; the last: {last.line()}" if last is not None else "; the last was stopped and its pod removed"
    return f" (after {tries} failed attempt{'s' if tries > 1 else ''}{reported})"


def release(kind: port.Kind, found: port.Object) -> plan.Patch:
    """Drop our finalizer from a Job or another part."""
    meta = found["metadata"]
    kept = [each for each in meta["finalizers"] if each != metadata.FINALIZER]
    return plan.Patch(kind, meta["name"], {"metadata": {"resourceVersion": meta["resourceVersion"], "finalizers": kept}})


def held(found: port.Object) -> bool:
    """Whether our finalizer is on a part."""
    return metadata.FINALIZER in (found["metadata"].get("finalizers") or ())


def _failed(observed: plan.Observed, step: steps.Step, found: port.Object, own_pods: list[port.Object]) -> Outcome:
    condition = conditions.get(found, conditions.FAILED) or {}
    failure = pods.last_failure(own_pods, observed.logs)
    if condition.get("reason") == "DeadlineExceeded":
        return Outcome(False, reasons.DEADLINE_EXCEEDED, _late(step, found, failure.text() if failure else _before(observed)))
    if failure is None:
        detail = condition.get("message") or condition.get("reason") or "its pods are gone"
        return Outcome(False, step.reason, f"{step.title} failed: {detail}. Create it again")
    return _judged(step, failure)


def _judged(step: steps.Step, failure: pods.Failure) -> Outcome:
    """What the failure of a container means for the step."""
    part = step.part(failure.container)
    ending = part.endings.get(failure.exit_code) if failure.exit_code is not None else None
    if failure.reason in part.kills:
        failure = msgspec.structs.replace(failure, advice=part.advice.get(failure.reason))
        return Outcome(False, part.kills[failure.reason], f"{step.title} failed: {failure.text()}")
    if ending is None:
        return Outcome(False, part.reason, f"{step.title} failed: {failure.text()}")
    return Outcome(False, ending.reason or part.reason, _failure_message(step, ending, failure))


def _failure_message(step: steps.Step, ending: steps.Ending, failure: pods.Failure) -> str:
    """The step's own last line, followed by the lines before it. If it wrote nothing: the meaning of its exit code."""
    before, _, last = failure.words.rpartition("\n")
    own = last if last else f"{ending.meaning} (exit code {failure.exit_code})"
    return f"{step.title}: {own}" + (f"\nThe lines before:\n{before}" if before else "")


def _before(observed: plan.Observed) -> str:
    """The present message of the status: at the Job's deadline the pods that show why it is late are removed."""
    reported = conditions.get(observed.present, conditions.COMPLETE)
    return f"Before: {reported['message']}" if reported is not None and reported.get("message") else ""


def _late(step: steps.Step, found: port.Object, detail: str) -> str:
    limit = found["spec"]["activeDeadlineSeconds"]
    return f"{step.title} did not end within {limit} s; {step.when_late}." + (f" {detail}" if detail else "")
