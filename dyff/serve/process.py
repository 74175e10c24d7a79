"""One server process: lock the data directory, open the adapters, run the roles, return an exit code."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from importlib import metadata
from shlex import quote
from typing import Any

import anyio
import click
import msgspec
import structlog

from dyff.accounts import codes
from dyff.kernel import clock, degradation, descriptors, errors, garbage_collector, memory, settings
from dyff.kernel.telemetry import metrics, trace_export, traces
from dyff.serve import adapters as given
from dyff.serve import (
    assembling,
    combinations,
    directory,
    isolation,
    log_output,
    opening,
    outputs,
    roles,
    signals,
    space,
    supervisor,
    vitals,
    wiring,
)
from dyff.serve.audit import output

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
    out = log_output.open_log(loaded)
    descriptors.raise_limit()
    memory.tune()
    rows = roles.parse(wanted)
    place = directory.DataDirectory(loaded.data_dir)
    local = roles.ports(rows) & opening.embedded(loaded)
    combinations.require(combinations.examine(loaded, rows))
    try:
        with place.claimed() if local else nullcontext():
            _keep_native_errors(out, place)
            anyio.run(_serve, loaded, place, rows, bool(local), out, backend="asyncio", backend_options={"use_uvloop": True})
    except BaseExceptionGroup as group:
        raise supervisor.first_of_ours(group) from group
    return 0


def _keep_native_errors(out: log_output.LogOutput, place: directory.DataDirectory) -> None:
    """On a terminal they stay where a person sees them. Where there is no data directory, they go past the log."""
    if out.as_json:
        with suppress(errors.Misconfigured):
            place.create()
    out.keep_native(place.native_errors)


async def _serve(
    loaded: settings.Settings, place: directory.DataDirectory, rows: Sequence[roles.Row], local: bool, out: log_output.LogOutput
) -> None:
    async with anyio.create_task_group() as group:
        stopping = _Stopping(loaded, group.cancel_scope)
        await group.start(signals.stop_on_signal, stopping.stop)
        await _open_and_run(loaded, place, rows, local, out, stopping)
        group.cancel_scope.cancel()


async def _open_and_run(
    loaded: settings.Settings,
    place: directory.DataDirectory,
    rows: Sequence[roles.Row],
    local: bool,
    out: log_output.LogOutput,
    stopping: _Stopping,
) -> None:
    time = clock.SystemClock()
    troubles = degradation.Troubles(time)
    disk = space.Space(place.root, loaded.disk.reserve_bytes, troubles) if local else None
    if disk is not None:
        disk.make_room()
    choosing = isolation.begin(loaded, place) if "cluster" in roles.ports(rows) & opening.embedded(loaded) else None
    with _audit(loaded, time, rows) as audit, _traces(loaded) as (tracer, exporter):
        async with wiring.open_adapters(loaded, place, time, rows, troubles) as opened:
            sandboxes = await isolation.chosen(choosing, troubles) if choosing is not None else None
            trail, measured = audit.trail if audit else None, metrics.Metrics()
            links = codes.Codes(time) if opened.listener is not None and sys.stdout.isatty() else None
            adapters = msgspec.structs.replace(
                opened, disk=disk, sandboxes=sandboxes, audit=trail, tracer=tracer, metrics=measured, codes=links
            )
            subject: supervisor.Supervisor | None = None
            watched = outputs.Outputs(out, audit, troubles, exporter)

            def report() -> dict[str, Any]:
                reported = subject.health.report() if subject else {"status": "starting", "roles": {}}
                return {**reported, "lost": watched.lost()}

            built = assembling.build(rows, loaded, adapters, report)
            subject = supervisor.Supervisor(built, loaded.supervision, time, troubles, measured)
            stopping.roles_begin(subject, adapters.listener)
            own_log = place.bus if adapters.local_bus is not None else None
            vital = vitals.Vitals(measured, subject.health, troubles, watched.lost, disk=disk, log=own_log)
            with vital.shown():
                async with anyio.create_task_group() as group:
                    group.start_soon(watched.watch)
                    group.start_soon(vital.watch_delays)
                    embedded = roles.ports(rows) & opening.embedded(loaded)
                    group.start_soon(_announce_when_ready, subject, place, adapters, rows, embedded, out)
                    await subject.run()
                    group.cancel_scope.cancel()


@contextmanager
def _audit(loaded: settings.Settings, time: clock.Clock, rows: Sequence[roles.Row]) -> Iterator[output.AuditOutput | None]:
    """The audit log of a process that serves the API, with its start and its stop."""
    if not any(row.serves_http for row in rows) or output.chosen_output(loaded) == "none":
        yield None
        return
    opened = output.AuditOutput(loaded, time)
    opened.mark("server.start", version=metadata.version("dyff-platform"), roles=", ".join(roles.names(rows)))
    try:
        yield opened
    finally:
        opened.mark("server.stop")
        opened.close()


@contextmanager
def _traces(loaded: settings.Settings) -> Iterator[tuple[traces.Tracer, trace_export.Exporter | None]]:
    """The tracer of a process, and what sends its spans until the process ends; None if nothing is sent."""
    opened = trace_export.open_exporter(loaded.telemetry, metadata.version("dyff-platform"))
    if opened is None:
        yield traces.SILENT, None
        return
    try:
        yield opened
    finally:
        opened[1].close()


class _Stopping:
    """Stops the process in an orderly way, and makes sure that it ends even if something hangs in a shielded clean-up."""

    def __init__(self, loaded: settings.Settings, opening: anyio.CancelScope) -> None:
        """`opening`: cancelled by a stop before there are roles, while stores are opened or waited for."""
        self._within_s = loaded.supervision.shutdown_grace_s + HARD_STOP_EXTRA_S
        self._opening = opening
        self._subject: supervisor.Supervisor | None = None
        self._listener: socket.socket | None = None

    def roles_begin(self, subject: supervisor.Supervisor, listener: socket.socket | None) -> None:
        """From now on, a stop ends the roles in their order.

        `listener`: of the API, or None. It is kept for a role that starts again; at a stop the kernel would accept connections for no one.
        """
        self._subject, self._listener = subject, listener

    def stop(self) -> None:
        """Request the stop."""
        watchdog = threading.Timer(self._within_s, os._exit, [EXIT_STUCK])
        watchdog.daemon = True
        watchdog.start()
        if self._listener is not None:
            self._listener.close()
        if self._subject is not None:
            self._subject.stop()
        else:
            self._opening.cancel()


async def _announce_when_ready(
    subject: supervisor.Supervisor,
    place: directory.DataDirectory,
    adapters: given.Adapters,
    rows: Sequence[roles.Row],
    local: Collection[str],
    out: log_output.LogOutput,
) -> None:
    await subject.health.wait_ready()
    garbage_collector.tune()
    url = adapters.public_url if adapters.listener is not None else None
    sandboxes = isolation.sentence(adapters.sandboxes) if adapters.sandboxes is not None else None
    where = f" --data-dir {quote(str(place.root))}" if "accounts" in local else ""
    first = f"dyff token create{where} --account $(dyff account create --name me{where})" if await _has_no_account(adapters) else None
    token = {"make_a_token": first} if first is not None else {}
    api = {"api": f"{url}/v0", "docs": f"{url}/v0/docs"} if url is not None else {}
    data = {"data": str(place.root)} if local else {}
    pods = {"pods": sandboxes} if sandboxes is not None else {}
    if out.as_json:
        out.announce("ready", roles=roles.names(rows), **api, **data, **pods, **token)
        if not sys.stdout.isatty():
            return
    lines = [f"Dyff is ready: {', '.join(roles.names(rows))}"]
    lines += [f"  {'API' if name == 'api' else name:<6}{value}" for name, value in {**api, **data, **pods}.items()]
    if first is not None and url is not None:
        lines += ["Make a token with:", f"  {first}"]
    if adapters.codes is not None and url is not None:
        # In the fragment, which a browser sends to nobody. It is printed, never logged.
        minutes = codes.LIFE.total_seconds() / 60
        lines += [f"Open the console (this link works once, for {minutes:.0f} minutes):", f"  {url}/#code={adapters.codes.make()}"]
    threading.Thread(target=_print, args=["\n".join(lines)], daemon=True).start()


async def _has_no_account(adapters: given.Adapters) -> bool:
    """Whether the installation is new: it has no account yet."""
    try:
        return adapters.accounts is not None and not await adapters.accounts.find(limit=1)
    except errors.DyffError:
        return False  # it is only for a message


def _print(text: str) -> None:
    """In a thread of its own, since there may be no reader who takes it."""
    with suppress(OSError):  # a full disk behind standard output
        click.echo(text)
