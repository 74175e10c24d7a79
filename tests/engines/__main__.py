"""Real servers for the tests: `python -m tests.engines build | run -- COMMAND | start | status | stop`."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
from filelock import FileLock, Timeout

from tests.engines import building, fleet, supervise
from tests.engines.catalog import RECIPES
from tests.engines.recipes import EngineError, Recipe, Unavailable

_PATIENCE_S = 10.0
_START_S = 600.0
_ASKED_S = 2.0
"""`status` holds the keeper's lock for a moment."""
_STARTED = "servers are started already; see `status`, or `stop` them first"

names_argument = click.argument("names", nargs=-1, type=click.Choice(sorted(RECIPES)))


def chosen(names: Sequence[str]) -> list[Recipe]:
    return [RECIPES[name] for name in names or RECIPES]


def in_ci() -> bool:
    return bool(os.environ.get("CI"))


def say(text: str) -> None:
    click.echo(text, err=True)


@contextmanager
def signals_as_exit() -> Iterator[None]:
    """The first signal ends what is being done; further ones don't disturb the tidying up."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def leave(number: int, _: object) -> NoReturn:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Real servers for the tests, without Docker. See docs/engines.md."""


@main.command()
@names_argument
def build(names: tuple[str, ...]) -> None:
    """Build or install servers (all of them by default); what is built already costs nothing."""
    failed = False
    for recipe in chosen(names):
        try:
            say(f"{recipe.title}: {building.build(recipe)}")
        except EngineError as error:
            failed = failed or in_ci() or not isinstance(error, Unavailable)
            say(f"NOT BUILT: {error}")
    sys.exit(failed)


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--only", "names", multiple=True, type=click.Choice(sorted(RECIPES)), help="Only this server; can be repeated.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(names: tuple[str, ...], command: tuple[str, ...]) -> None:
    """Start servers afresh, run COMMAND with their DYFF_TEST_* variables, stop them. Its exit code is COMMAND's."""
    with signals_as_exit(), fleet.running(chosen(names), required=in_ci()) as started:
        say(started.table())
        me = os.getpid()
        process = subprocess.Popen(command, env={**os.environ, **started.variables()}, preexec_fn=lambda: supervise.die_with(me))
        try:
            code = process.wait()
        except SystemExit as leaving:
            _end(process, reported=leaving.code == 128 + signal.SIGINT)
            raise
    sys.exit(code if code >= 0 else 128 - code)


def _end(process: subprocess.Popen[bytes], *, reported: bool) -> None:
    """End the command, unless a terminal's Ctrl-C has done that; it is killed if it does not end."""
    if not reported:
        process.terminate()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@main.command()
@names_argument
def start(names: tuple[str, ...]) -> None:
    """Start servers that stay until `stop`, and print their variables: eval "$(python -m tests.engines start)"."""
    if _started():
        raise click.ClickException(_STARTED)
    log = building.root() / "started.log"
    with log.open("wb") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.engines", "keep", *names],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    end = time.monotonic() + _START_S
    while not (found := _started()):
        if keeper.poll() is not None or time.monotonic() > end:
            keeper.terminate()
            raise click.ClickException(log.read_text())
        # real time: another process starts, and its file is all that shows it
        time.sleep(0.05)
    _show(found)


@main.command(hidden=True)
@names_argument
def keep(names: tuple[str, ...]) -> None:
    """What `start` leaves running."""
    state = _state()
    try:
        with _keeper(_ASKED_S), signals_as_exit(), fleet.running(chosen(names), required=in_ci()) as started:
            unfinished = state.with_suffix(".new")
            unfinished.write_text(json.dumps({"pid": os.getpid(), "variables": started.variables(), "table": started.table()}))
            unfinished.rename(state)
            while True:
                signal.pause()
    except Timeout:
        raise click.ClickException(_STARTED) from None


@main.command()
def status() -> None:
    """Which servers `start` has left running, and where."""
    if found := _started():
        _show(found)
    else:
        say("no servers are started")
        sys.exit(1)


@main.command()
def stop() -> None:
    """Stop what `start` started."""
    if found := _started():
        os.kill(found["pid"], signal.SIGTERM)
        with _keeper(_PATIENCE_S):
            _state().unlink(missing_ok=True)


def _state() -> Path:
    return building.root() / "started.json"


def _keeper(timeout_s: float = 0) -> FileLock:
    """Held as long as the servers of `start` run, so that a process id in the state file is never somebody else's."""
    return FileLock(building.root() / "started.lock", timeout=timeout_s)


def _started() -> dict[str, Any] | None:
    """The state file, if it is of servers that run. None: there are none, or they are not up yet."""
    try:
        with _keeper():
            _state().unlink(missing_ok=True)  # of servers that were killed
    except Timeout:
        pass
    else:
        return None
    try:
        return json.loads(_state().read_text())
    except FileNotFoundError:
        return None


def _show(found: dict[str, Any]) -> None:
    say(found["table"])
    for name, value in found["variables"].items():
        click.echo(f"export {name}={shlex.quote(value)}")


def guarded() -> None:
    """An error that we know is a message, not a traceback."""
    try:
        main()
    except EngineError as error:
        say(f"error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    guarded()
