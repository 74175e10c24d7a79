"""Settings as YAML for people: each value with its origin in a comment, and no secret. Pure.

No setting should hold a secret, but some can: the URI of a database, the variables and the command of an image. Those are hidden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from dyff.kernel import settings_sources

HIDDEN = "***"
SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|KEY|CREDENTIALS?)$")
"""The end of a variable's name, in capitals, that holds a secret."""

_OPTION = re.compile(r"(--?[\w.-]*?(?:token|secret|password|passwd|key|credentials?))(=.*)?", re.IGNORECASE | re.DOTALL)
_ASSIGNED = re.compile(r"([\w.-]*?(?:token|secret|password|passwd|key|credentials?|signature))=([^&\s]+)", re.IGNORECASE)
_USER_INFO = re.compile(r"://([^/@\s:]*):([^/@\s]*)@")
_USER_ONLY = re.compile(r"(https?|redis|amqps?)://[^/@\s:]+@")


def lines(settings: msgspec.Struct, origins: Mapping[str, str]) -> Iterator[str]:
    """The lines of a YAML document that has all settings. `origins`: as of `settings_sources.Sources`."""
    yield from _lines(settings, origins, "")


def _lines(group: msgspec.Struct, origins: Mapping[str, str], prefix: str) -> Iterator[str]:
    indent = "  " * prefix.count(".")
    for field in msgspec.structs.fields(group):
        value, path = getattr(group, field.name), prefix + field.name
        if isinstance(value, msgspec.Struct):
            yield f"{indent}{field.name}:"
            yield from _lines(value, origins, f"{path}.")
        else:
            plain = msgspec.to_builtins(value)
            if field.name.endswith("_headers") and isinstance(plain, dict):  # any of them can be a credential, whatever its name
                plain = dict.fromkeys(plain, HIDDEN)
            first, *more = _dumped(field.name, hidden(plain))
            yield f"{indent}{first}  # {settings_sources.origin(origins, path)}".replace("\n", " ")
            yield from (indent + each for each in more)


def _dumped(name: str, value: Any) -> list[str]:
    if isinstance(value, str) and not value.isprintable():  # a comment cannot follow a text of several lines
        return [f"{name}: {json.dumps(value)}"]
    import yaml  # only here: each start reads settings, and few print them

    return yaml.safe_dump({name: value}, sort_keys=False, width=10**6, allow_unicode=True).splitlines()


def hidden(value: Any) -> Any:
    """A value, with what may be a secret in it replaced: passwords in URLs, and what has a name like `HF_TOKEN` or `--api-key`."""
    if isinstance(value, dict):
        return {key: HIDDEN if SECRET.search(str(key).upper()) and isinstance(each, str) else hidden(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return list(_arguments(value))
    if isinstance(value, str):
        value = _USER_INFO.sub(rf"://\1:{HIDDEN}@", value)
        value = _USER_ONLY.sub(rf"\1://{HIDDEN}@", value)
        return _ASSIGNED.sub(rf"\1={HIDDEN}", value)
    return value


def _arguments(words: list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    """The words of a command: `--token=X` and `--token X` hide X."""
    after_secret = False
    for each in words:
        option = _OPTION.fullmatch(each) if isinstance(each, str) else None
        if option is not None:
            yield f"{option[1]}={HIDDEN}" if option[2] else each
        else:
            yield HIDDEN if after_secret and isinstance(each, str) and not each.startswith("-") else hidden(each)
        after_secret = option is not None and not option[2]
