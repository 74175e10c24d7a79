"""Where settings come from: a file, environment variables and flags, merged into one tree, with the origin of each value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from dyff.kernel import errors, settings_names, suggestions, telemetry_settings

HUB = "HF_ENDPOINT"
"""The variable that users of another model hub have usually set already."""

_HUB_PATH = "operator.fetch_env.HF_ENDPOINT"
DEFAULT = "default"
ADVICE = "'dyff docs settings' lists all of them"
_AT = re.compile(r" - at `\$\.?([^`]*)`")
_QUOTED = re.compile(r"Invalid enum value '(.*)'")


class Sources(msgspec.Struct):
    """Merged values, not yet validated. `tree`: nested by groups. `origins`: dotted path to where the value comes from, for people."""

    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}


def gather(struct: type[msgspec.Struct], file: str | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Sources:
    """Merge all sources, those that come later in the list of arguments over the earlier ones.

    `struct`: all settings. `file`: None for the one that the environment names, if any. `flags`: dotted path to value; None if the
    flag was not given.

    Raises:
        Misconfigured: names that are not those of settings, all of them named; or the file cannot be read.
    """
    found, problems = Sources(), []
    known = settings_names.leaves(struct)
    named = file or environment.get(settings_names.CONFIG_FILE)
    if named:
        by = "" if file else f", which {settings_names.CONFIG_FILE} names,"
        from dyff.kernel import settings_file  # only here: it needs YAML, whose import takes 20 ms

        tree = settings_file.read(named, by)
        problems += [f"{each} (file {Path(named).absolute()})" for each in settings_names.unknown_keys(struct, tree)]
        _merge(found, known, tree, f"file {Path(named).absolute()}")
    for name, text in sorted(environment.items()):
        if not name.startswith(settings_names.PREFIX) or settings_names.is_foreign(name, text):
            continue
        if problem := settings_names.variable_problem(struct, name):
            problems.append(problem)
        else:
            _put(found, name.removeprefix(settings_names.PREFIX).lower().split("__"), text, f"variable {name}")
    if problems:
        raise errors.Misconfigured(f"settings: {'; '.join(problems)}; {ADVICE}")
    if environment.get(HUB):
        _put_default(found, _HUB_PATH.split("."), environment[HUB], f"variable {HUB}")
    for setting, (variable, value) in telemetry_settings.of_environment(environment).items():
        if f"telemetry.{setting}" in known:
            _put_default(found, ["telemetry", setting], value, f"variable {variable}")
    for path, value in flags.items():
        if value is not None:
            _put(found, path.split("."), value, f"flag {flag(path)}")
    return found


def flag(path: str) -> str:
    """The flag of a setting: `--host` for `api.host`."""
    return "--" + path.rpartition(".")[2].replace("_", "-")


def origin(origins: Mapping[str, str], path: str) -> str:
    """Where the value of a setting comes from. Several sources are joined, as of a map of which parts come from different ones."""
    here = [where for each, where in origins.items() if each == path or each.startswith(f"{path}.")]
    return ", ".join(dict.fromkeys(here)) or DEFAULT


def misconfigured(struct: type[msgspec.Struct], sources: Sources, error: msgspec.ValidationError) -> errors.Misconfigured:
    """Translate msgspec's message: it names the path as `$.api.port`; we name the setting and where its value comes from."""
    text, place = str(error), _AT.search(str(error))
    if place is None:
        return errors.Misconfigured(f"settings: {text}; {ADVICE}")
    path = place[1].partition("[")[0]
    where = origin(sources.origins, path)
    said = _AT.sub("", text) + (f" ({where})" if where != DEFAULT else "")
    possible = settings_names.choices(settings_names.leaves(struct).get(path))
    given = _QUOTED.search(text)
    hint = f"; {suggestions.hint(given[1], possible)}" if given and possible else ""
    if where.startswith("variable ") and ("`array`" in text or "`object`" in text):
        hint = "; a list or a map can only be set in a settings file"
    return errors.Misconfigured(f"settings: {place[1]}: {said}{hint}; {ADVICE}")


def require_text(sources: Sources) -> None:
    """Refuse texts that are no text: bytes that are not UTF-8 in a variable or a flag, as a path can have them, and NUL.

    Neither SQLite nor JSON could hold them.

    Raises:
        Misconfigured: there are some; the message names each.
    """
    wrong = [_not_text(path, value, sources) for path, value in _texts(sources.tree) if not is_text(value)]
    if wrong:
        raise errors.Misconfigured(f"settings: {'; '.join(wrong)}; choose another, such as a path of letters of UTF-8")


def is_text(value: str) -> bool:
    """Whether a text can be stored: UTF-8 without NUL."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _texts(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """All texts of a tree, with their dotted paths. A key counts as its own value."""
    if isinstance(tree, str):
        yield ".".join(path), tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from _texts(str(key), path)
            yield from _texts(value, (*path, str(key)))
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _texts(value, path)


def _not_text(path: str, value: str, sources: Sources) -> str:
    where = origin(sources.origins, path)
    return f"{ascii(path)[1:-1]} is not UTF-8, or has a NUL: {value!a}" + (f" ({ascii(where)[1:-1]})" if where != DEFAULT else "")


def _merge(found: Sources, known: Mapping[str, Any], tree: Mapping[Any, Any], where: str, prefix: tuple[str, ...] = ()) -> None:
    """Add what a file has. A group without anything in it, as when all its lines are comments, is as good as none."""
    for key, value in tree.items():
        path = (*prefix, str(key))
        is_group = any(each.startswith(".".join(path) + ".") for each in known)
        if is_group and isinstance(value, dict):
            _merge(found, known, value, where, path)
        elif not (is_group and value is None):
            _put(found, list(path), value, where)


def _put(found: Sources, path: list[str], value: Any, where: str) -> None:
    tree = found.tree
    for step in path[:-1]:
        tree = tree.setdefault(step, {})
        if not isinstance(tree, dict):
            raise errors.Misconfigured(f"the setting {'.'.join(path)} is inside something that is not a group")
    tree[path[-1]] = value
    found.origins[".".join(path)] = where


def _put_default(found: Sources, path: list[str], value: Any, where: str) -> None:
    tree = found.tree
    for step in path[:-1]:
        tree = tree.setdefault(step, {})
        if not isinstance(tree, dict):
            return  # wrong, which is reported when it is converted
    if path[-1] not in tree:
        tree[path[-1]] = value
        found.origins[".".join(path)] = where
