"""What the tests cost: the time of processors, by file, at the end of each run, so that growth is seen. No test asserts any of it.

Counted are the process of the tests and all programs that it started and that have ended, with theirs. So it does not depend on how busy
the machine is or how many workers there are, as the duration does.
"""

from __future__ import annotations

import resource
import sys
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

COSTLIEST = 12
"""So many files are shown."""
_SPENT, _BY_FILE = "spent_s", "spent_by_file_s"


def spent_s() -> float:
    """Seconds of processors so far."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    forks = sys.modules.get("tests.acceptance.forks")  # whose processes are no children of this one
    return sum(each.ru_utime + each.ru_stime for each in parts) + (forks.spent_s() if forks else 0.0)


class Costs:
    """In each worker, and in the process that the person started."""

    def __init__(self) -> None:
        self._by_file: defaultdict[str, float] = defaultdict(float)
        self._workers_s = 0.0

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """A test with its fixtures; what a module shares is the cost of the test that needed it first."""
        before = spent_s()
        try:
            return (yield)
        finally:
            self._by_file[item.nodeid.partition("::")[0]] += spent_s() - before

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A worker reports to the process that the person started."""
        told = getattr(session.config, "workeroutput", None)
        if told is not None:
            told.update({_SPENT: spent_s(), _BY_FILE: dict(self._by_file)})

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker has ended; one that crashed has reported nothing."""
        told = getattr(node, "workeroutput", {})
        self._workers_s += told.get(_SPENT, 0.0)
        for file, spent in told.get(_BY_FILE, {}).items():
            self._by_file[file] += spent

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """The sum, and the files that cost most."""
        if len(self._by_file) > 1:
            workers_s = self._workers_s
            own = resource.getrusage(resource.RUSAGE_SELF)
            total_s = workers_s + own.ru_utime + own.ru_stime if workers_s else spent_s()
            terminalreporter.section("time of processors")
            for line in shown(total_s, self._by_file):
                terminalreporter.write_line(line)


def shown(total_s: float, by_file: Mapping[str, float]) -> list[str]:
    """The sum, of which a part is that of all tests (the rest is their import), and the costliest files."""
    tests_s = sum(by_file.values())
    costliest = sorted(by_file.items(), key=lambda pair: (-pair[1], pair[0]))[:COSTLIEST]
    return [f"{total_s:8.1f} s, of which tests {tests_s:.1f} s", *(f"{cost:8.1f} s {file}" for file, cost in costliest)]
