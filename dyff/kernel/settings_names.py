"""Names of settings: as dotted paths, as environment variables, and what an unknown one was probably meant to be. Pure.

Everything here works on a struct whose fields are groups (other structs) and settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import msgspec

from dyff.kernel import suggestions

PREFIX = "DYFF_"
CONFIG_FILE = "DYFF_CONFIG_FILE"
"""The variable that names the settings file."""

OTHERS = frozenset({CONFIG_FILE, "DYFF_API_TOKEN", "DYFF_API_ENDPOINT", "DYFF_API_INSECURE", "DYFF_REGISTRY_URL"})
"""Variables with our prefix that clients read. They are often set in the shell in which a server or a command is started."""

_PART_OF = {"DYFF_GIT_HOSTS": "operator.fetch_env"}
"""Variables of programs in pods that an administrator sets, and the map of variables that they belong in. Here they would do nothing."""

TOOLS = ("DYFF_TEST_", "DYFF_BENCH_", "DYFF_ENGINES")
"""Beginnings of the variables of test and development tools, which no setting may have."""

_INJECTED_NAME = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)$")
_INJECTED_LINK = re.compile(r"_PORT(_\d+_(TCP|UDP|SCTP))?$")
_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
_MOST_SHOWN = 3


def leaves(struct: type[msgspec.Struct], prefix: str = "") -> dict[str, Any]:
    """All settings below a struct: their dotted paths, with their types."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        path = prefix + field.name
        found |= leaves(field.type, f"{path}.") if _is_group(field.type) else {path: field.type}
    return found


def _is_group(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def variable(path: str) -> str:
    """The environment variable of a setting: `DYFF_API__PORT` for `api.port`."""
    return PREFIX + path.upper().replace(".", "__")


def is_foreign(name: str, value: str) -> bool:
    """Whether a variable with our prefix is certainly not meant as a setting.

    That is one of clients or of test tools, or one that Kubernetes injects into pods next to a Service whose name
    begins with `dyff`, such as `DYFF_PORT=tcp://10.0.0.1:80` or `DYFF_API_SERVICE_HOST`.
    """
    if name in OTHERS or name.startswith(TOOLS):
        return True
    return bool(_INJECTED_NAME.search(name)) or bool(_INJECTED_LINK.search(name) and _ADDRESS.match(value))


def variable_problem(struct: type[msgspec.Struct], name: str) -> str | None:
    """What is wrong with the name of a variable that should be a setting; None if it is the variable of one."""
    if name in _PART_OF:
        return f"{name} is not the variable of a setting; it belongs in {_PART_OF[name]} of a settings file"
    known = leaves(struct)
    path = name.removeprefix(PREFIX).lower().replace("__", ".")
    if path in known and variable(path) == name:
        return None
    for each in known:
        if path.startswith(f"{each}."):
            return f"{name}: {each} has no variables for its parts; set it in a settings file"
    if inside := sorted(variable(each) for each in known if each.startswith(f"{path}.")):
        return f"{name} is a group of settings, not one: its variables are {_some(inside)}"
    near = suggestions.nearest(name.removeprefix(PREFIX), [variable(each).removeprefix(PREFIX) for each in known])
    return f"{suggestions.shown(name)} is not the variable of a setting" + (f"; did you mean {PREFIX}{near}?" if near else "")


def unknown_keys(struct: type[msgspec.Struct], tree: Mapping[Any, Any]) -> list[str]:
    """A sentence for each key of a settings file that is not the name of a setting or of a group."""
    return list(_unknown(struct, struct, tree, ""))


def _unknown(root: type[msgspec.Struct], struct: type[msgspec.Struct], tree: Mapping[Any, Any], prefix: str) -> Iterator[str]:
    fields = {field.name: field.type for field in msgspec.structs.fields(struct)}
    for key, value in tree.items():
        if key not in fields:
            yield _unknown_key(root, str(key), list(fields), prefix)
        elif isinstance(value, Mapping):
            yield from _unknown_inside(root, fields[key], value, f"{prefix}{key}.")


def _unknown_inside(root: type[msgspec.Struct], kind: Any, value: Mapping[Any, Any], prefix: str) -> Iterator[str]:
    if _is_group(kind):
        yield from _unknown(root, kind, value, prefix)
    elif get_origin(kind) is dict and _is_group(get_args(kind)[1]):
        for name, each in value.items():
            if isinstance(each, Mapping):
                yield from _unknown(root, get_args(kind)[1], each, f"{prefix}{name}.")


def _unknown_key(root: type[msgspec.Struct], key: str, siblings: list[str], prefix: str) -> str:
    said = f"{suggestions.shown(prefix + key)} is not a setting"
    known = leaves(root)
    elsewhere = [each for each in known if each.rpartition(".")[2] == key]
    if near := suggestions.nearest(key, siblings):
        return f"{said}; did you mean {prefix + near!r}?"
    if 0 < len(elsewhere) <= _MOST_SHOWN:
        return f"{said}; did you mean {' or '.join(map(repr, elsewhere))}?"
    if near := suggestions.nearest(prefix + key, known):
        return f"{said}; did you mean {near!r}?"
    return f"{said}; {f'known in {prefix[:-1]}' if prefix else 'known'} are {', '.join(siblings)}"


def choices(kind: Any) -> tuple[str, ...]:
    """The texts that a setting of this type can be; empty if it is not a choice."""
    if get_origin(kind) is Literal:
        return tuple(each for each in get_args(kind) if isinstance(each, str))
    return tuple(text for each in get_args(kind) for text in choices(each))


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_SHOWN])
    return f"{shown}, ..." if len(names) > _MOST_SHOWN else shown
