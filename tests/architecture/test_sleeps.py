"""Tests wait for events or on a clock that jumps; a real sleep has a reason next to it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
REASONS = ("real time: ", "virtual time: ")
"""The second of helpers, which only tests with that marker use."""
LEAST = 15
"""How many characters a reason has at least."""


def is_virtual(node: ast.AST) -> bool:
    """Whether a test is marked `virtual_time`, or a module in `pytestmark`."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return any("virtual_time" in ast.unparse(each) for each in node.decorator_list)
    return isinstance(node, ast.Module) and any(
        isinstance(each, ast.Assign) and "pytestmark" in ast.unparse(each.targets[0]) and "virtual_time" in ast.unparse(each.value)
        for each in node.body
    )


def is_a_sleep(call: ast.Call) -> bool:
    named = (getattr(call.func, "attr", None) or getattr(call.func, "id", None)) == "sleep"
    return named and not (call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0)


def sleeps(node: ast.AST) -> Iterator[ast.Call]:
    """The calls of a `sleep` that takes real time: not of 0, which only lets others run."""
    if is_virtual(node):
        return
    if isinstance(node, ast.Call) and is_a_sleep(node):
        yield node
    for each in ast.iter_child_nodes(node):
        yield from sleeps(each)


def without_a_reason(text: str) -> list[str]:
    """The lines of a program with such a call and without a comment that has the reason: on the line or above it."""
    lines, found = text.splitlines(), []
    for call in sleeps(ast.parse(text)):
        first = call.lineno - 1
        above = first
        while above and lines[above - 1].lstrip().startswith("#"):
            above -= 1
        comment = "\n".join([*lines[above:first], lines[first].partition("#")[2]])
        if all(len(comment.partition(each)[2].strip()) < LEAST for each in REASONS):
            found.append(f"{call.lineno}: {lines[first].strip()}")
    return found


def test_a_real_sleep_has_a_reason():
    """tests/waiting.py waits for what can be seen; other sleeps are virtual, or a comment `real time: ...` says why not."""
    files = sorted(TESTS.rglob("*.py"))
    assert len(files) > 400
    assert [
        f"{path.relative_to(TESTS)}:{each}"
        for path in files
        if "sleep" in (text := path.read_text())  # else it has no call of one
        for each in without_a_reason(text)
    ] == []


NO = ["time.sleep(1)", "async def f():\n    await anyio.sleep(0.1)", "from time import sleep\nsleep(x)", "time.sleep(1)  # real time: so"]
YES = [
    "await_it.sleep(0)",
    "time.sleep(1)  # real time: the kernel counts it by its own clock",
    "# real time: the kernel counts it by its own clock,\n# and nothing reports that it did\ntime.sleep(1)",
    "@pytest.mark.virtual_time\nasync def test_f():\n    await anyio.sleep(100)",
    "pytestmark = pytest.mark.virtual_time\nasync def test_f():\n    await anyio.sleep(100)",
]


@pytest.mark.parametrize("text", NO)
def test_a_sleep_without_a_reason_is_found(text: str):
    """Whatever it is imported from; a word is no reason."""
    assert len(without_a_reason(text)) == 1


@pytest.mark.parametrize("text", YES)
def test_a_sleep_with_a_reason_is_not_found(text: str):
    """Nor a virtual one, nor one that only lets others run."""
    assert without_a_reason(text) == []
