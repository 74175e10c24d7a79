"""Looks into the code of a method without running it."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

from dyff.cli.methods.wrong import Wrong
from dyff.kernel import suggestions

MAX_NOTEBOOK_BYTES = 2**26
"""As the runner of analyses has it."""


def check_name(module: Path, name: str, at: str) -> None:
    """Check that the code defines a function or class. `at`: the field that names it, for messages.

    Raises:
        Wrong: it does not, or the code cannot be parsed.
    """
    file, rest = _file(module, name)
    if file is None or not rest:
        return  # something compiled, so only running it shows what it defines
    tree = _parsed(file)
    names = sorted(set(_names(tree.body)))
    if rest[0] not in names and "*" not in names:
        raise Wrong(f"{at}: {file} has no {rest[0]!r}; {suggestions.hint(rest[0], names)}")


def is_decorated(module: Path, name: str) -> bool:
    """Whether the function has a decorator that is called `method`, under whatever module's name."""
    file, rest = _file(module, name)
    if file is None or len(rest) != 1:
        return False
    found = [each for each in _parsed(file).body if isinstance(each, ast.FunctionDef) and each.name == rest[0]]
    return any(_last_name(decorator) == "method" for each in found for decorator in each.decorator_list)


def check_notebook(path: Path) -> None:
    """Check that a file is a notebook.

    Raises:
        Wrong: it is none.
    """
    if path.stat().st_size > MAX_NOTEBOOK_BYTES:
        raise Wrong(f"{path} is larger than {MAX_NOTEBOOK_BYTES} bytes; clear its outputs, which are not used")
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Wrong(f"{path} is not a Jupyter notebook: it is not JSON ({error}); save it with Jupyter") from error
    if not isinstance(document, dict) or not isinstance(document.get("nbformat"), int):
        raise Wrong(f"{path} is not a Jupyter notebook: it has no nbformat; save it with Jupyter")
    if document["nbformat"] >= 4 and not isinstance(document.get("cells"), list):
        raise Wrong(f"{path} is not a Jupyter notebook: it has no cells; save it with Jupyter")


def _file(module: Path, name: str) -> tuple[Path | None, list[str]]:
    """The file that defines a name, as Python finds it, and what follows the name of the file."""
    steps = name.split(".")
    for count in range(len(steps) - 1, 0, -1):
        for end in (".py", "/__init__.py"):
            path = module / ("/".join(steps[:count]) + end)
            if path.is_file():
                return path, steps[count:]
    return None, []


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), str(file))
    except SyntaxError as error:
        raise Wrong(f"{file}, line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise Wrong(f"{file} is not Python code: {error}") from error


def _names(body: list[ast.stmt]) -> Iterator[str]:
    """Names that statements define, also within `if`, `try` and `with`."""
    for each in body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield each.name
        elif isinstance(each, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in each.names)
        elif isinstance(each, ast.Assign | ast.AnnAssign):
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
        else:
            for inner in ("body", "orelse", "finalbody"):
                yield from _names(getattr(each, inner, []))
            for handler in getattr(each, "handlers", []):
                yield from _names(handler.body)


def _last_name(decorator: ast.expr) -> str:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
