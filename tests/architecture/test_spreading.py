"""How the tests are spread over several workers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.conftest import TESTS
from tests.orders import begun_elsewhere
from tests.spreading import spread


class A:
    def __init__(self, nodeid: str, *markers: str) -> None:
        self.nodeid, self.markers = nodeid, markers

    def get_closest_marker(self, name: str) -> object:
        return name if name in self.markers else None


def made_of(file: str, count: int, *markers: str) -> list[A]:
    return [A(f"{file}::test_{number}", *markers) for number in range(count)]


SUITE = [
    *made_of("acceptance/a.py", 5, "acceptance"),
    *made_of("acceptance/b.py", 2, "acceptance"),
    *made_of("acceptance/long.py", 1, "acceptance", "slow"),
    *made_of("acceptance/c.py", 3, "faults"),
    *made_of("kernel/d.py", 60),
    *made_of("roles/e.py", 11),
]


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7, 200])
@pytest.mark.parametrize("suite", [SUITE, SUITE[:11], SUITE[11:], []], ids=["all", "those that wait", "the others", "none"])
def test_each_test_is_there_once(suite, workers):
    """However many workers there are, and whatever was selected."""
    assert sorted(each.nodeid for each in spread(suite, workers)) == sorted(each.nodeid for each in suite)


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_each_worker_begins_with_tests_that_wait(workers):
    """Of equal pieces of the list each has some at its beginning and ends with others; a file stays together; `slow` comes first."""
    found = spread(SUITE, workers)
    pieces: list[list[Any]] = []
    for number in range(workers):
        size = (len(found) - sum(map(len, pieces))) // (workers - number)
        pieces.append(found[sum(map(len, pieces)) :][:size])
    for piece in pieces:
        assert piece[0].markers
        assert not piece[-1].markers
    assert "slow" in found[0].markers
    files = [file for file, _ in itertools.groupby(each.nodeid.partition("::")[0] for each in found if each.markers)]
    assert len(files) == len(set(files))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_each_worker_begins_to_collect_elsewhere_and_collects_all(workers):
    """What one has compiled the others find; between two beginnings is about as much as between any others."""
    found = [begun_elsewhere(TESTS, number, workers) for number in range(workers)]
    assert len({each[0] for each in found}) == workers
    for each in found:
        assert sorted(each) == sorted(found[0])
    assert {str(path.parent) for path in TESTS.glob("*/test_*.py")} <= set(found[0])
