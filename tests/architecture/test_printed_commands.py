"""Commands that messages print can be pasted into a shell, whatever is in their paths."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_BEFORE = re.compile(
    r"(?:--(?:data-dir|config|file|to|from)[ =]|\bdyff (?:[a-z]+ )+"
    r"|\b(?:chown|chmod|cp|mv|rm|mkdir|ls|cd|kill|export|tar|rsync|mount) (?:-\S+ |\S+ )*)$"
)
"""What comes directly before an argument of a command."""


def unquoted(source: str) -> Iterator[str]:
    """The values that an f-string puts after a command without quoting them."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        before = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                before += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                value = ast.unparse(part.value)
                if _BEFORE.search(before) and "quote" not in value and not value.startswith(("os.getuid", "os.getpid")):
                    yield f"{before[-40:]}{{{value}}}"
                before += "x"


@pytest.mark.parametrize("source", ["f'run dyff serve --data-dir {root}'", "f'`sudo chown -R {uid} {root}`'", "f'dyff backup {place}'"])
def test_the_search_finds_what_is_not_quoted(source):
    """Each form in which a message had a path."""
    assert list(unquoted(source))


@pytest.mark.parametrize("source", ["f'dyff serve --data-dir {quote(str(root))}'", "f'chmod -R go= {quoted}'", "f'the port {port}'"])
def test_the_search_leaves_the_rest_alone(source):
    """Quoted arguments, and sentences without a command."""
    assert not list(unquoted(source))


def test_every_printed_command_is_quoted():
    """In all of our sources; use `shlex.quote`."""
    found = {str(path.relative_to(ROOT)): list(unquoted(path.read_text())) for path in sorted((ROOT / "dyff").rglob("*.py"))}
    assert {path: values for path, values in found.items() if values} == {}
