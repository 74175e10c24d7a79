"""The table of roles: everything specific to a role is in its row, and adding a role means adding a row.

The rest follows from the rows: what `--role` accepts, which ports are opened (`wiring`), what runs (`assembling`), which roles need
leader election where several processes share the cluster (`election`), and the Kubernetes manifests (`permissions`, `deployments`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import anyio.abc
import msgspec

from dyff.accounts import port as accounts
from dyff.cluster import port as cluster
from dyff.entities import registry
from dyff.kernel import errors, liveness, settings, suggestions
from dyff.serve.adapters import Adapters, given
from dyff.serve.permissions import LEADS, LOGS, READ, Permission, of_kind, on_custom

Report = Callable[[], dict[str, Any]]
ALL = "all"
"""Stands for every role in `--role`."""


class Process(msgspec.Struct, frozen=True):
    """The part of the process that a role's coroutine can use. `report`: health of all roles, see `health.Health.report`."""

    settings: settings.Settings
    adapters: Adapters
    report: Report


Run = Callable[[Process, anyio.abc.TaskStatus[None], liveness.Signs], Awaitable[None]]
"""Serves until cancelled; see `supervisor.Role.run`."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A role that a person can choose.

    `ports`: what it can access; no other port is opened for it, and only the stores behind these are migrated or checked at the start.
    `stage`: see `supervisor.Role`. `run`: the role itself. `comes_with`: further tasks by name; the supervisor runs each as a role of
    its own, so that a failure of one does not restart the other. `one_at_a_time`: only one of the processes that share a cluster does
    the work; two would do no harm, but duplicate it. `permissions`: exactly those that it needs in the cluster. `serves_http`: it gets
    a socket and a public URL, and a Service on Kubernetes. `starts_steps`: its pods run our steps, so it needs the image of the steps
    and their access to the object store.
    """

    name: str
    ports: frozenset[str]
    stage: int
    run: Run
    comes_with: Mapping[str, Run] = {}
    one_at_a_time: bool = False
    permissions: tuple[Permission, ...] = ()
    serves_http: bool = False
    starts_steps: bool = False

    @property
    def granted(self) -> tuple[Permission, ...]:
        """All its permissions in the cluster; empty if it does not use the cluster."""
        return (*self.permissions, LEADS) if self.one_at_a_time else self.permissions


async def _api(process: Process, task_status: anyio.abc.TaskStatus[None], signs: liveness.Signs) -> None:
    from dyff.accounts.authority import Authority
    from dyff.api import role
    from dyff.api.services import Services

    adapters = process.adapters
    services = Services(
        bus=given(adapters.bus),
        query=given(adapters.query),
        accounts=given(adapters.accounts),
        authority=Authority(given(adapters.accounts), adapters.clock, adapters.ids, leeway_s=process.settings.api.clock_leeway_s),
        objects=given(adapters.objects),
        cluster=given(adapters.cluster),
        signer=adapters.signer,
        listener=adapters.listener,
        url=adapters.public_url,
        clock=adapters.clock,
        ids=adapters.ids,
        settings=process.settings.api,
        quotas=process.settings.quotas,
        probes={str(role): places for role, places in process.settings.console.probes.items()},
        health=process.report,
        is_full=lambda: adapters.disk is not None and adapters.disk.full,
        audit=adapters.audit,
        tracer=adapters.tracer.of("api"),
        metrics=adapters.metrics,
        codes=adapters.codes,
    )
    await role.run(services, task_status=task_status)


async def _aggregator(process: Process, task_status: anyio.abc.TaskStatus[None], signs: liveness.Signs) -> None:
    from dyff.consumers.aggregator import role as aggregator

    adapters = process.adapters
    await aggregator.run(
        given(adapters.bus),
        clock=adapters.clock,
        signs=signs,
        troubles=adapters.troubles,
        tracer=adapters.tracer.of("aggregator"),
        measured=adapters.metrics,
        task_status=task_status,
    )


async def _sink(process: Process, task_status: anyio.abc.TaskStatus[None], signs: liveness.Signs) -> None:
    from dyff.consumers import sink

    adapters = process.adapters
    tracer, measured = adapters.tracer.of("sink"), adapters.metrics
    await sink.run(given(adapters.bus), given(adapters.query), signs=signs, tracer=tracer, measured=measured, task_status=task_status)


async def _orchestrator(process: Process, task_status: anyio.abc.TaskStatus[None], signs: liveness.Signs) -> None:
    from dyff.consumers.orchestrator import role as orchestrator

    adapters = process.adapters
    await orchestrator.run(
        given(adapters.bus),
        given(adapters.cluster),
        clock=adapters.clock,
        settings=process.settings,
        suspended=_suspended(given(adapters.accounts)),
        objects=given(adapters.objects),
        signs=signs,
        troubles=adapters.troubles,
        tracer=adapters.tracer.of("orchestrator"),
        measured=adapters.metrics,
        task_status=task_status,
    )


def _suspended(database: accounts.Accounts) -> Callable[[str], Awaitable[bool]]:
    """Returns a function: whether an account is suspended or deleted. An account that does not exist, only as a name, never is."""

    async def suspended(account_id: str) -> bool:
        account = await database.get(account_id)
        return account is not None and account.status != accounts.ACTIVE

    return suspended


async def _relay(process: Process, task_status: anyio.abc.TaskStatus[None], signs: liveness.Signs) -> None:
    from dyff.consumers import relay

    adapters = process.adapters
    await relay.run(given(adapters.bus), given(adapters.accounts), signs=signs, measured=adapters.metrics, task_status=task_status)


async def _informer(process: Process, task_status: anyio.abc.TaskStatus[None], signs: liveness.Signs) -> None:
    from dyff.consumers import informer

    adapters = process.adapters
    await informer.run(
        given(adapters.bus),
        given(adapters.cluster),
        clock=adapters.clock,
        signs=signs,
        tracer=adapters.tracer.of("informer"),
        measured=adapters.metrics,
        task_status=task_status,
    )


async def _operator(process: Process, task_status: anyio.abc.TaskStatus[None], signs: liveness.Signs) -> None:
    from dyff.operator import role
    from dyff.serve import opening

    adapters, analyses = process.adapters, process.settings.analyses
    await role.run(
        given(adapters.cluster),
        settings=process.settings.operator,
        storage_env=adapters.storage_env,
        images=process.settings.pods.images,
        analyses=analyses.on_kubernetes() if opening.on_kubernetes(process.settings) else analyses,
        signs=signs,
        tracer=adapters.tracer.of("operator"),
        measured=adapters.metrics,
        task_status=task_status,
    )


TABLE: tuple[Row, ...] = (
    Row(
        name="api",
        ports=frozenset({"bus", "query", "accounts", "objects", "cluster"}),
        stage=3,
        run=_api,
        permissions=(
            on_custom(("get",), registry.READ_BY_API),
            of_kind(cluster.POD, *READ),
            of_kind(cluster.SERVICE, "get"),
            LOGS,
        ),
        serves_http=True,
    ),
    Row(name="aggregator", ports=frozenset({"bus"}), stage=1, run=_aggregator),
    Row(name="sink", ports=frozenset({"bus", "query"}), stage=1, run=_sink),
    Row(
        name="orchestrator",
        ports=frozenset({"bus", "accounts", "objects", "cluster"}),
        stage=2,
        run=_orchestrator,
        comes_with={"accounts-relay": _relay},
        one_at_a_time=True,
        permissions=(on_custom((*READ, "create", "patch", "delete"), registry.MADE), of_kind(cluster.POD, *READ)),
    ),
    Row(
        name="informer",
        ports=frozenset({"bus", "cluster"}),
        stage=2,
        run=_informer,
        one_at_a_time=True,
        permissions=(on_custom(READ, registry.MADE),),
    ),
    Row(
        name="operator",
        ports=frozenset({"cluster"}),
        stage=2,
        run=_operator,
        one_at_a_time=True,
        permissions=(
            on_custom(READ, registry.RESOURCES),
            on_custom(("patch",), registry.RESOURCES, "/status"),
            # Required to create a child with `blockOwnerDeletion`, if the cluster checks that permission.
            on_custom(("update",), registry.RESOURCES, "/finalizers"),
            on_custom(("create", "delete"), registry.PARTS),
            of_kind(cluster.JOB, *READ, "create", "patch", "delete"),
            of_kind(cluster.DEPLOYMENT, *READ, "create", "delete"),
            of_kind(cluster.SERVICE, *READ, "create", "delete"),
            of_kind(cluster.CONFIG_MAP, "get", "create", "delete"),
            of_kind(cluster.NETWORK_POLICY, *READ, "create", "patch", "delete"),
            of_kind(cluster.POD, *READ, "delete"),
            LOGS,
        ),
        starts_steps=True,
    ),
)
"""All roles, in the order in which they are listed for people."""


def names(rows: Iterable[Row]) -> tuple[str, ...]:
    """The names of these roles."""
    return tuple(row.name for row in rows)


def ports(rows: Iterable[Row]) -> frozenset[str]:
    """All ports that any of these roles can access."""
    return frozenset().union(*(row.ports for row in rows))


def parse(wanted: str) -> tuple[Row, ...]:
    """The roles that `--role` names: `all`, or a comma-separated list.

    Raises:
        Misconfigured: a role is not known, or none is named.
    """
    by_name = {row.name: row for row in TABLE}
    chosen = tuple(dict.fromkeys(name.strip() for name in wanted.split(",") if name.strip()))
    unknown = [name for name in chosen if name not in by_name and name != ALL]
    known = ", ".join(names(TABLE))
    if not chosen:
        raise errors.Misconfigured(f"--role names no role; choose {ALL}, or some of {known}")
    if unknown:
        named = ", ".join(suggestions.shown(each) for each in unknown)
        near = [found for each in unknown if (found := suggestions.nearest(each.lower(), (ALL, *by_name)))]
        hint = f"did you mean {', '.join(dict.fromkeys(near))}? " if near else ""
        raise errors.Misconfigured(f"--role: {named} is not a role; {hint}Choose {ALL}, or some of {known}")
    return TABLE if ALL in chosen else tuple(by_name[name] for name in chosen)
