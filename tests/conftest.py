"""What every test shares, and the summary of how many tests ran on which adapter.

A fixture that stands for a port is parametrised with `"<port>:<adapter>"`, for instance `"bus:embedded"`. A server
that is missing is a loud skip on a laptop and an error in CI (`CI=true`).
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import hypothesis
import looptime
import pytest
import pytest_asyncio

from tests import costs, leaks, orders, spreading, tiers

hypothesis.settings.register_profile("dyff", deadline=None)
hypothesis.settings.load_profile("dyff")
"""No test asserts a time: a busy machine is slow, and that is no failure."""

for _number, _handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
    # Under `nohup`, in the background of a script or in CI they can be ignored. Programs that tests start would inherit that and not stop.
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

UMASK = os.umask(0o022)
"""Of the person who started the tests."""
os.umask(UMASK)

PORTS = frozenset({"bus", "query", "accounts", "objects", "cluster"})
_ran: Counter[str] = Counter()


long_round = pytest.mark.skipif(not os.environ.get("DYFF_TEST_LONG"), reason="a long round, on demand: set DYFF_TEST_LONG=1")
"""Of tests whose rule is tested by others already, or that take minutes for little."""


def missing(reason: str) -> NoReturn:
    """Skip because something is not here; in CI that is an error, since CI claims to have it."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {reason}")
    pytest.skip(reason)


TESTS = Path(__file__).parent
_FOLDERS = (
    "analyses", "console", "engines", "image", "pages/test_hostile.py", "pages/test_invited.py", "pages/test_other_systems.py", "pods",
    "serving", "wheels",
)  # fmt: skip
PROGRAMS = tuple(str(TESTS / name) for name in _FOLDERS)
"""Whose tests start programs: servers, pods, browsers, installations. They are no unit tests, so `make test-fast` leaves them out."""


def pytest_configure(config):
    config.pluginmanager.register(costs.Costs())
    if config.args_source == pytest.Config.ArgsSource.TESTPATHS and (worker := os.environ.get("PYTEST_XDIST_WORKER")):
        config.args = orders.begun_elsewhere(TESTS, int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item):
    """Before markers are selected."""
    if str(item.path).startswith(PROGRAMS):
        item.add_marker("programs")
    if tiers.is_long(item):
        item.add_marker("long")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Several workers share the waiting. They need one order, though each began to collect elsewhere."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = spreading.spread(sorted(items, key=lambda item: str(item.path)), workers)


gc.disable()  # until the tests have been collected, which makes hardly any garbage


def pytest_collection_finish():
    """What is loaded now stays: half a million objects, which each collection of a test's garbage would look at again."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.passed:
        params = getattr(getattr(item, "callspec", None), "params", {})
        values = [value for value in params.values() if isinstance(value, str)]
        report.adapters = [value for value in values if value.partition(":")[0] in PORTS and "contracts" in item.path.parts]
    return report


def pytest_runtest_logreport(report):
    for adapter in getattr(report, "adapters", ()):
        _ran[adapter] += 1


def pytest_terminal_summary(terminalreporter):
    rows = summary(_ran, json.loads(os.environ.get("DYFF_TEST_SERVERS", "{}")))
    if rows:
        terminalreporter.section("contract tests passed, by port and adapter")
        for row in rows:
            terminalreporter.write_line(row)


def summary(ran: Mapping[str, int], servers: Mapping[str, str]) -> list[str]:
    """Adapter, server and version, tests: also for a server on which none ran.

    `servers` (from tests.engines) has families of adapters: "query:mongo" is the server of "query:mongo-motor", too.
    """
    of = {adapter: next((family for family in servers if adapter.startswith(family)), adapter) for adapter in ran}
    counts = {**ran, **{family: 0 for family in servers if family not in of.values()}}
    return [f"{adapter:<24} {servers.get(of.get(adapter, adapter), ''):<24} {count}" for adapter, count in sorted(counts.items())]


def pytest_asyncio_loop_factories(config, item):
    """Real time for all tests but those marked `virtual_time`."""
    if item.get_closest_marker("virtual_time"):
        return {"virtual": lambda: looptime.new_event_loop(start=0)}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(scope="session")
def _watched_loops():
    """The module that watches, which the environments of older clients cannot import."""
    from tests import blocking

    with blocking.watched():
        yield blocking


STRICT = tuple(
    os.path.join(os.path.dirname(__file__), name)
    for name in (
        "accounts", "api", "architecture/test_strictness.py", "bus", "cluster", "contracts", "histories", "objects", "query", "roles",
        "sdk", "telemetry", "workflows",
    )
)  # fmt: skip
"""Folders whose tests must not block an event loop or leave anything behind. What the others have found so far is not settled yet."""


@pytest.fixture(autouse=True)
def _left_nothing(request):
    """Fails a test that blocks an event loop, or leaves a thread or a process."""
    if not _is_strict(request.node):
        yield
        return
    blocking = request.getfixturevalue("_watched_loops")
    before = leaks.present()
    blocking.watch(True)
    try:
        yield
    finally:
        blocking.watch(False)
    found = blocking.taken() + leaks.left_since(before, shares=_shares(request))
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def _is_strict(item):
    """If nothing may block or be left. Clients of real servers are not watched yet: their libraries end threads and connections late."""
    return str(item.path).startswith(STRICT) and item.get_closest_marker("engines") is None


def _shares(request):
    """If the test uses a fixture of these tests that outlives it."""
    known = request.node._fixtureinfo.name2fixturedefs
    return any(each[-1].scope != "function" and each[-1].baseid and not name.startswith("_") for name, each in known.items())


@pytest.fixture
async def _ended_tasks():
    """Fails a test that leaves a task on its loop."""
    yield
    if found := await leaks.tasks_left():
        pytest.fail("left by the test:\n" + "\n".join(found), pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    os.umask(UMASK)  # a command that a test calls in this process leaves the private one
    if pytest_asyncio.is_async_test(item) and _is_strict(item):
        item.fixturenames.insert(0, "_ended_tasks")  # first, so that it looks when all other fixtures have ended
