"""What systems are called in a comparison: each another way, and as readers know them."""

from __future__ import annotations

import base64
import json

import pytest

from dyff.api.comparisons import names
from dyff.api.comparisons.terms import Source


def source(key, service=None):
    return Source(key, {"id": key * 32, "scope": {"inferenceService": service and service * 32}})


def case(system=None, title=None):
    carried = {"spec": {}, "documentation": {"title": system}}
    value = base64.b64encode(json.dumps(carried).encode()).decode()
    return {"data": [{"key": "system", "value": value}], "metadata": {"documentation": {"title": title}}}


NAMES: dict[str, tuple[list[tuple[str, str | None, str | None]], list[str]]] = {
    "as they are called": ([("1", "a", "one"), ("2", "b", "two")], ["one", "two"]),
    "with a part of the ID of systems of one name": (
        [("1", "a", "x"), ("2", "b", "x"), ("3", "c", "y")], ["x (aaaaaaaa)", "x (bbbbbbbb)", "y"],
    ),
    "with that of the measurement for one system": (
        [("1", "a", "x"), ("2", "a", "x")], ["x (aaaaaaaa) (11111111)", "x (aaaaaaaa) (22222222)"],
    ),
    "by IDs without a name": ([("1", "a", None), ("2", None, None)], ["system aaaaaaaa", "measurement 22222222"]),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_are_distinct(name):
    """The case's name is the rule."""
    given, want = NAMES[name]
    assert names.distinct([source(key, service) for key, service, _ in given], [known for _, _, known in given]) == want


OF_CASES: dict[str, tuple[list[tuple[str | None, dict | None]], list[str | None]]] = {
    "the name comes first": ([("n", case("s", "t"))], ["n"]),
    "then the title of the system": ([(None, case("s", "t"))], ["s"]),
    "then that of the case, if several systems have one": (
        [(None, case("s", "t")), (None, case("s", "u")), (None, None)], ["t", "u", None],
    ),
    "a case without a title": ([(None, case("s", " ")), (None, case("s"))], ["s", "s"]),
    "what is no text is no title": ([(None, case(5, 6))], [None]),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_CASES)
def test_what_cases_say(name):
    """The case's name is the rule."""
    given, want = OF_CASES[name]
    assert names.of_cases([plain for plain, _ in given], [each for _, each in given]) == want
