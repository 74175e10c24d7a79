"""The one table of roles. `all` is computed from it.

The orchestrator, of which there is one, brings the relay of the accounts' changes with it; it is a task of its own, so
that neither's trouble is the other's. Besides the six roles that a person can choose there are the parts that an
embedded adapter runs in the background (maintenance of the log, the local cluster's controllers and its kubelet); they
come with every choice that has the adapter. The probes come where they have an address.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.abc

from dyff.accounts import port as accounts
from dyff.cluster.embedded import EmbeddedCluster
from dyff.kernel import errors, settings, vitals
from dyff.serve import election, wiring
from dyff.serve.supervisor import Role

Report = Callable[[], dict[str, Any]]
ALL = ("api", "aggregator", "sink", "orchestrator", "informer", "operator")
_WITH = {"orchestrator": "accounts-relay"}
"""What comes with a role, as a task of its own."""
_ONE_AT_A_TIME = frozenset({"orchestrator", "accounts-relay", "informer", "operator"})
"""Two of them at once do no harm, but the same work twice."""


def parse(wanted: str) -> tuple[str, ...]:
    """The roles that `--role` names: `all`, or a comma-separated list.

    Raises:
        Misconfigured: one is not known, or none is named.
    """
    if wanted.strip() == "all":
        return ALL
    names = tuple(dict.fromkeys(name.strip() for name in wanted.split(",") if name.strip()))
    unknown = [name for name in names if name not in ALL]
    if unknown or not names:
        raise errors.Misconfigured(f"--role: {', '.join(unknown) or 'nothing'} is not a role; choose all, or some of {', '.join(ALL)}")
    return names


def build(names: tuple[str, ...], loaded: settings.Settings, given: wiring.Adapters, report: Report) -> list[Role]:
    """The chosen roles and the background of the embedded adapters, with what they need."""
    from dyff.consumers import aggregator, informer, orchestrator, relay, sink
    from dyff.operator import role as operator

    def run_aggregator(task_status: anyio.abc.TaskStatus[None], signs: vitals.Vitals) -> Any:
        return aggregator.run(wiring.given(given.bus), clock=given.clock, signs=signs, task_status=task_status)

    def run_sink(task_status: anyio.abc.TaskStatus[None], signs: vitals.Vitals) -> Any:
        return sink.run(wiring.given(given.bus), wiring.given(given.query), signs=signs, task_status=task_status)

    def run_orchestrator(task_status: anyio.abc.TaskStatus[None], signs: vitals.Vitals) -> Any:
        return orchestrator.run(
            wiring.given(given.bus),
            wiring.given(given.cluster),
            clock=given.clock,
            settings=loaded,
            suspended=_suspended(wiring.given(given.accounts)),
            objects=wiring.given(given.objects),
            signs=signs,
            task_status=task_status,
        )

    def run_relay(task_status: anyio.abc.TaskStatus[None], signs: vitals.Vitals) -> Any:
        return relay.run(wiring.given(given.bus), wiring.given(given.accounts), signs=signs, task_status=task_status)

    def run_informer(task_status: anyio.abc.TaskStatus[None], signs: vitals.Vitals) -> Any:
        return informer.run(wiring.given(given.bus), wiring.given(given.cluster), clock=given.clock, signs=signs, task_status=task_status)

    def run_operator(task_status: anyio.abc.TaskStatus[None], signs: vitals.Vitals) -> Any:
        return operator.run(
            wiring.given(given.cluster),
            clock=given.clock,
            settings=loaded.operator,
            storage_env=given.storage_env,
            signs=signs,
            task_status=task_status,
        )

    def run_api(task_status: anyio.abc.TaskStatus[None], signs: vitals.Vitals) -> Any:
        from dyff.api import role as api

        return api.run(_services(loaded, given, report), task_status=task_status)

    chosen = [
        Role("aggregator", 1, run_aggregator),
        Role("sink", 1, run_sink),
        Role("operator", 2, run_operator),
        Role("informer", 2, run_informer),
        Role("orchestrator", 2, run_orchestrator),
        Role("accounts-relay", 2, run_relay),
        Role("api", 3, run_api),
    ]
    running = {*names, *(_WITH[name] for name in names if name in _WITH)}
    return [*_background(loaded, given, report), *(_single(role, given) for role in chosen if role.name in running)]


def _single(role: Role, given: wiring.Adapters) -> Role:
    """Of some roles one runs, where several processes share the cluster; the local cluster belongs to one process anyway."""
    if role.name not in _ONE_AT_A_TIME or given.cluster is None or given.local_cluster is not None:
        return role
    return election.elected(role, given.cluster, given.clock, given.ids)


def _suspended(database: accounts.Accounts) -> Callable[[str], Awaitable[bool]]:
    """Whether an account is suspended (or deleted). An entity may belong to an account that is only a name: that one never is."""

    async def suspended(account_id: str) -> bool:
        account = await database.get(account_id)
        return account is not None and account.status != accounts.ACTIVE

    return suspended


def _background(loaded: settings.Settings, given: wiring.Adapters, report: Report) -> list[Role]:
    background: list[Role] = []
    if given.probes is not None:
        background.append(_probes(given.probes, report))
    log = given.local_bus
    if log is not None:
        background.append(Role("log-maintenance", 0, lambda task_status, signs: log.maintain(task_status=task_status)))
    if given.local_cluster is not None:
        background += _local_cluster(loaded, given, given.local_cluster)
    return background


def _probes(listener: socket.socket, report: Report) -> Role:
    from dyff.serve import probes

    return Role("probes", 0, lambda task_status, signs: probes.run(report, listener, task_status=task_status))


def _local_cluster(loaded: settings.Settings, given: wiring.Adapters, resources: EmbeddedCluster) -> list[Role]:
    from dyff.cluster.embedded import LocalControllers
    from dyff.cluster.pods.kubelet import Kubelet

    def run_controllers(task_status: anyio.abc.TaskStatus[None], signs: vitals.Vitals) -> Any:
        return LocalControllers(resources, clock=given.clock).run(task_status=task_status)

    async def run_kubelet(task_status: anyio.abc.TaskStatus[None], signs: vitals.Vitals) -> None:
        kubelet = Kubelet(resources, resources.pods_dir, loaded.pods, given.clock)
        try:
            await kubelet.run(task_status=task_status)
        except anyio.get_cancelled_exc_class():
            # Only an orderly stop of the server stops pods; a kubelet that failed finds them again when it is restarted.
            with anyio.CancelScope(shield=True):
                await kubelet.stop_all(loaded.supervision.shutdown_grace_s / 2)
            raise

    return [Role("local-controllers", 0, run_controllers), Role("kubelet", 0, run_kubelet)]


def _services(loaded: settings.Settings, given: wiring.Adapters, report: Report) -> Any:
    from dyff.accounts.authority import Authority
    from dyff.api.services import Services

    return Services(
        bus=wiring.given(given.bus),
        query=wiring.given(given.query),
        accounts=wiring.given(given.accounts),
        authority=Authority(wiring.given(given.accounts), given.clock, given.ids),
        objects=wiring.given(given.objects),
        cluster=wiring.given(given.cluster),
        signer=given.signer,
        listener=given.listener,
        clock=given.clock,
        ids=given.ids,
        settings=loaded.api,
        health=report,
    )
