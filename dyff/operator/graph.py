"""Steps of a custom resource that run one after the other: what the next one lacks, what the status says, and how they end. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from dyff.cluster import conditions, port
from dyff.operator import cleanup, jobs, plan, reasons, steps
from dyff.operator.manifests import job

SUCCEEDED = jobs.SUCCEEDED


class Node(msgspec.Struct, frozen=True):
    """A step, and what it runs with.

    `reason`: of the status while it runs. `deadline_s`: for all attempts together. `first`: actions that come before the step's own.
    `manifest`, `requests`, `env`, `secrets`, `around`: as in `jobs.ensure`.
    """

    step: steps.Step
    reason: str
    manifest: dict[str, Any]
    deadline_s: int
    first: tuple[plan.Action, ...] = ()
    requests: Mapping[str, str] = {}
    env: Mapping[str, str] = {}
    secrets: tuple[str, ...] = ()
    around: job.Around = job.Around()


Done = Mapping[str, str]
"""The steps that have succeeded, by component, as the status records them."""


def decide(
    observed: plan.Observed,
    nodes: tuple[Node, ...],
    now: datetime,
    setup: plan.Setup,
    *,
    complete: str = "",
    failed: Callable[[jobs.Outcome, Done], plan.Plan] | None = None,
) -> plan.Plan:
    """The plan of a resource that completes when the last of its steps has succeeded, and fails with the first that fails.

    `complete`: the message at the end. `failed`: what to do instead of failing at once.
    """
    done: dict[str, str] = {}
    for node in nodes:
        outcome = jobs.outcome(observed, node.step, now, setup)
        if outcome is None:
            return running(observed, node, now, setup, done=done)
        if not outcome.succeeded:
            return failed(outcome, done) if failed else ended(observed, conditions.failed(outcome.reason, outcome.message), now, done)
        done[node.step.component] = SUCCEEDED
    # What is recorded about the last step matters only where there is another that could be looked at again.
    return ended(observed, conditions.complete(reasons.COMPLETE, complete), now, done if len(nodes) > 1 else {})


def running(
    observed: plan.Observed,
    node: Node,
    now: datetime,
    setup: plan.Setup,
    *,
    done: Done | None = None,
    message: str | None = None,
    fields: Mapping[str, Any] | None = None,
) -> plan.Plan:
    """Let a step run, or run on. The Jobs of those that are `done` are released, since the status records their outcome.

    `message`: of the status; None for what the step is doing. `fields`: of the status, in addition.
    """
    names = tuple(f"{observed.request.name}-{component}" for component in done or ())
    actions = (*cleanup.interrupted(observed), *cleanup.recorded(observed, *names), *node.first, *missing(observed, node, setup))
    said = jobs.progress(observed, node.step) if message is None else message
    patch = conditions.status_patch(observed.present, conditions.running(node.reason, said), now, {**_recorded(done), **(fields or {})})
    return plan.Plan(actions, patch, setup.look_again_s(now, *deadlines(observed, node.step)))


def ended(
    observed: plan.Observed,
    how: dict[str, conditions.Condition],
    now: datetime,
    done: Done | None = None,
    fields: Mapping[str, Any] | None = None,
) -> plan.Plan:
    """The end of a resource: what it no longer needs is removed. `fields`: of the status, in addition to the steps that are `done`."""
    return plan.Plan(
        cleanup.leftovers(observed), conditions.status_patch(observed.present, how, now, {**_recorded(done), **(fields or {})})
    )


def missing(observed: plan.Observed, node: Node, setup: plan.Setup) -> Iterator[plan.Action]:
    """Actions that are missing for the step to run."""
    return jobs.ensure(
        observed,
        node.step,
        setup,
        manifest=node.manifest,
        deadline_s=node.deadline_s,
        requests=node.requests,
        env=node.env,
        secrets=node.secrets,
        around=node.around,
    )


def deadlines(observed: plan.Observed, step: steps.Step) -> list[datetime]:
    """When to look at the step again because it should have ended; empty if it does not run."""
    found = observed.get(port.JOB, jobs.name(observed, step))
    due = jobs.overdue(found) if found is not None else None
    return [due] if due is not None else []


def _recorded(done: Done | None) -> dict[str, Any]:
    return {"steps": dict(done)} if done else {}
