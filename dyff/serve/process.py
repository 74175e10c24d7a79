"""One server process: lock the data directory, open the adapters, run the roles, return an exit code."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Sequence
from contextlib import nullcontext, suppress
from shlex import quote
from typing import Any

import anyio
import click
import msgspec
import structlog

from dyff.kernel import clock, degradation, descriptors, errors, garbage_collector, logs, memory, settings
from dyff.serve import adapters as given
from dyff.serve import assembling, combinations, directory, isolation, opening, roles, signals, space, supervisor, wiring

log = structlog.get_logger()

EXIT_STUCK = 4
HARD_STOP_EXTRA_S = 5.0


def serve(loaded: settings.Settings, wanted: str) -> int:
    """Serve until asked to stop; returns the exit code.

    Raises:
        InUse: another server is using the data directory.
        Misconfigured: the settings cannot work.
        RoleGaveUp: a role failed too often.
    """
    try:
        logs.configure(loaded.log_level)
    except ValueError as error:
        raise errors.Misconfigured(f"log_level: {error}") from error
    descriptors.raise_limit()
    memory.tune()
    rows = roles.parse(wanted)
    place = directory.DataDirectory(loaded.data_dir)
    local = roles.ports(rows) & opening.embedded(loaded)
    combinations.require(combinations.examine(loaded, rows))
    try:
        with place.claimed() if local else nullcontext():
            anyio.run(_serve, loaded, place, rows, bool(local), backend="asyncio", backend_options={"use_uvloop": True})
    except BaseExceptionGroup as group:
        raise supervisor.first_of_ours(group) from group
    return 0


async def _serve(loaded: settings.Settings, place: directory.DataDirectory, rows: Sequence[roles.Row], local: bool) -> None:
    time = clock.SystemClock()
    troubles = degradation.Troubles(time)
    disk = space.Space(place.root, loaded.disk.reserve_bytes, troubles) if local else None
    if disk is not None:
        disk.make_room()
    choosing = isolation.begin(loaded, place) if "cluster" in roles.ports(rows) & opening.embedded(loaded) else None
    async with wiring.open_adapters(loaded, place, time, rows, troubles) as opened:
        sandboxes = await isolation.chosen(choosing, troubles) if choosing is not None else None
        adapters = msgspec.structs.replace(opened, disk=disk, sandboxes=sandboxes)
        subject: supervisor.Supervisor | None = None

        def report() -> dict[str, Any]:
            return subject.health.report() if subject else {"status": "starting", "roles": {}}

        subject = supervisor.Supervisor(assembling.build(rows, loaded, adapters, report), loaded.supervision, time, troubles)
        async with anyio.create_task_group() as group:
            await group.start(signals.stop_on_signal, _stopper(subject, loaded))
            group.start_soon(_announce_when_ready, subject, place, adapters, rows, roles.ports(rows) & opening.embedded(loaded))
            await subject.run()
            group.cancel_scope.cancel()


def _stopper(subject: supervisor.Supervisor, loaded: settings.Settings) -> Any:
    """Requests an orderly stop, and makes sure that the process ends even if something hangs in a shielded clean-up."""

    def stop() -> None:
        watchdog = threading.Timer(loaded.supervision.shutdown_grace_s + HARD_STOP_EXTRA_S, os._exit, [EXIT_STUCK])
        watchdog.daemon = True
        watchdog.start()
        subject.stop()

    return stop


async def _announce_when_ready(
    subject: supervisor.Supervisor,
    place: directory.DataDirectory,
    adapters: given.Adapters,
    rows: Sequence[roles.Row],
    local: Collection[str],
) -> None:
    await subject.health.wait_ready()
    garbage_collector.tune()
    lines = [f"Dyff is ready: {', '.join(roles.names(rows))}"]
    if adapters.listener is not None:
        url = adapters.public_url
        lines += [f"  API   {url}/v0", f"  docs  {url}/v0/docs"]
    if local:
        lines.append(f"  data  {place.root}")
    if adapters.sandboxes is not None:
        lines.append(f"  pods  {isolation.sentence(adapters.sandboxes)}")
    if adapters.listener is not None:
        where = f" --data-dir {quote(str(place.root))}" if "accounts" in local else ""
        lines += ["Make a token with:", f"  dyff token create{where} --account $(dyff account create --name me{where})"]
    with suppress(OSError):  # a full disk behind standard output
        click.echo("\n".join(lines))
