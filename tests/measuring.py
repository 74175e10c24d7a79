"""Branch coverage of the pure packages: a plugin of pytest for runs with several workers (`-p tests.measuring`, in make test-fast).

Tracing doubles the time of the processor. So it is on only while modules are imported and while a test of a pure package runs
(`TESTS`): the others must not be what covers them.
"""

from __future__ import annotations

import os
from typing import Any

import coverage
import pytest

from tests import floor

TESTS = (
    "tests/entities/",
    "tests/admission/",
    "tests/adapters/",
    "tests/planning/",
    "tests/accounts/test_grants.py",
    "tests/cluster/test_conditions.py",
    "tests/contracts/query/",
    "tests/histories/",
    "tests/query/test_mongo_format.py",
    "tests/registry/",
    "tests/sdk/test_displays.py",
    "tests/stats/",
    "tests/workflows/test_kept.py",
    "tests/objects/test_layout.py",
)
"""How the names begin of the tests that are measured, except those that generate their input."""


class Measuring:
    """In each worker."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        measured.start()

    def pytest_collection_finish(self) -> None:
        """Everything is imported."""
        self._measured.stop()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        is_generated = item.get_closest_marker("hypothesis") is not None  # what it reaches differs from run to run
        if is_generated or not item.nodeid.startswith(TESTS):
            return (yield)
        self._measured.start()
        try:
            return (yield)
        finally:
            self._measured.stop()

    def pytest_sessionfinish(self) -> None:
        self._measured.stop()
        self._measured.save()


class Reporting:
    """In the process that the person started."""

    def __init__(self) -> None:
        self._report = ""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """The workers have ended. Less than the floor is a failure of the run."""
        measured = made()
        measured.combine()
        self._report, enough = floor.reached(measured)
        if not enough and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("coverage")
        terminalreporter.write(self._report)


def made() -> coverage.Coverage:
    """Of the pure files only; each process writes a file of its own."""
    return coverage.Coverage(data_file=str(floor.ROOT / ".coverage"), data_suffix=True, include=floor.patterns())


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before anything of Dyff is imported."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        early_config.pluginmanager.register(Measuring(made()))
        return
    for each in floor.ROOT.glob(".coverage.*"):
        each.unlink()  # of a run that was killed
    early_config.pluginmanager.register(Reporting())
