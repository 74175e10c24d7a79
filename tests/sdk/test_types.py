"""The types that both clients promise, checked by mypy as a user's would be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from tests.sdk import typed_requests

EXAMPLES = Path(__file__).with_name("types_of_clients.py")


def test_types_are_those_of_the_results():
    """Each operation has the type of its result on the one client, of a coroutine on the other; misuse is an error where it is."""
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(EXAMPLES)],
        cwd=EXAMPLES.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    errors = {int(line) for line in re.findall(r":(\d+): error:", found.stdout)}
    wanted = {n for n, line in enumerate(EXAMPLES.read_text().splitlines(), 1) if "# wants" in line}
    assert errors == wanted, found.stdout


def test_the_types_of_requests_are_those_of_the_registry():
    """What editors complete is what the server accepts. If this fails: `python -m tests.sdk.typed_requests`, then `ruff format`."""
    assert ast.dump(ast.parse(typed_requests.FILE.read_text())) == ast.dump(ast.parse(typed_requests.text()))
