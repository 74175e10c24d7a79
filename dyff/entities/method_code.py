"""Whether a method's modules have the code that it names. Pure.

Only paths of files are known, not what is in them, so this finds what is misspelt or missing, at the moment at which the method is created.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from dyff.entities import codecs, stored
from dyff.kernel import suggestions

_MOST_FILES = 3
"""For so many of the files that can define a function a similar one is looked for: a package's, a class's, a nested class's."""


class _Module(stored.Part, frozen=True):
    artifacts: list[stored.Artifact]


def paths(module: Any) -> frozenset[str]:
    """The paths of the files of a module. `module`: in embedded form (`dyff.entities.identity.Embedded`)."""
    return frozenset(each.path for each in codecs.opened(module, _Module).artifacts)


def file_problem(module: str, path: str, files: Collection[str]) -> str | None:
    """What is wrong if a module, by its ID, should have a file at `path`; None if it has one."""
    if path in files:
        return None
    near = suggestions.nearest(path, sorted(files))
    end = f"; did you mean {suggestions.shown(near)!r}?" if near else ""
    return f"the module {module} has no file {suggestions.shown(path)!r}{end}"


def name_problem(name: str, modules: Collection[Collection[str]]) -> str | None:
    """What is wrong if one of the modules, each given by the paths of its files, should define `name`; None if one can.

    `name`: of a function or a class, such as `package.module.function`, or of something within it.
    """
    steps = name.split(".")
    places = ["/".join(steps[:n]) for n in range(len(steps) - 1, 0, -1)]
    if any(not defined.isdisjoint(places) for defined in map(frozenset, map(_modules, modules))):
        return None
    files = [f"{each}.py" for each in places[:_MOST_FILES]]
    text = f"none of the modules has the file {suggestions.shown(files[0])!r} that {suggestions.shown(name)} needs"
    known = sorted(frozenset().union(*modules))
    near = next((found for each in files if (found := suggestions.nearest(each, known))), None)
    if near is not None:
        return f"{text}; did you mean {suggestions.shown(near)!r}?"
    fix = "name the function as package.module.function, from the root of its module" if modules else "list its module in `modules`"
    return f"{text}; {fix}"


def _modules(files: Iterable[str]) -> Iterator[str]:
    """The modules of Python that these files define, with slashes: a file or compiled file, or the folder of a package."""
    for path in files:
        folder, _, file = path.rpartition("/")
        stem, dot, _ = file.partition(".")
        if stem == "__init__":
            yield folder
        elif dot:
            yield f"{folder}/{stem}" if folder else stem
