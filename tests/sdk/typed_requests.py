"""Writes `dyff/sdk/requests.py`, the types of requests, from the registry's rows: `python -m tests.sdk.typed_requests`."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from dyff.entities import account, labels, registry
from dyff.entities.kinds import inference_session

FILE = Path(__file__).parents[2] / "dyff/sdk/requests.py"

HEAD = '''"""The types of requests, so that editors complete their keys and type checkers find misspelt ones.

Made from the registry's rows by `python -m tests.sdk.typed_requests`; do not edit it. A test compares it with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Required, TypedDict

import msgspec
'''

_PLAIN = {str: "str", int: "int", float: "float", bool: "bool", Any: "Any", type(None): "None", datetime: "datetime | str"}
_WIDTH = 140


def bodies() -> Iterator[type[msgspec.Struct]]:
    """All structs that are the body of a request."""
    for row in registry.ROWS:
        if row.creation is not None:
            yield row.creation.request
        for edit in row.edits:
            yield edit.request
    yield from (account.AccountPermissionsSetRequest, account.AccountTokenCreateRequest)
    yield from (labels.DocumentationEditRequest, labels.ClaimEditRequest, inference_session.InferenceSessionTokenCreateRequest)


def text() -> str:
    """The whole file."""
    done: dict[str, type[msgspec.Struct]] = {}
    written: list[str] = []
    for body in bodies():
        _write(body, done, written)
    return "\n\n".join([HEAD, *written])


def _write(struct: type[msgspec.Struct], done: dict[str, type[msgspec.Struct]], written: list[str]) -> str:
    """Write the type of a struct after those of its parts; returns its name."""
    name = struct.__name__
    if name in done:
        assert done[name] is struct, f"two structs have the name {name}"
        return name
    done[name] = struct
    required = set(getattr(struct, "rules", {}).get("required", ()))
    lines = [f"class {name}(TypedDict, total=False):", f'    """{_summary(struct)}"""', ""]
    for field in msgspec.structs.fields(struct):
        said = _type(field.type, done, written)
        needed = field.required or field.encode_name in required
        lines.append(f"    {field.encode_name}: {f'Required[{said}]' if needed else said}")
    written.append("\n".join(lines) + "\n")
    return name


def _type(given: Any, done: dict[str, type[msgspec.Struct]], written: list[str]) -> str:
    origin, arguments = get_origin(given), get_args(given)
    if given in _PLAIN:
        return _PLAIN[given]
    if origin is Annotated:
        return _type(arguments[0], done, written)
    if origin is Literal:
        return f"Literal[{', '.join(_quoted(each) for each in arguments)}]"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys(_type(each, done, written) for each in arguments if each is not msgspec.UnsetType))
    if origin is tuple:
        return f"Sequence[{_type(arguments[0], done, written)}]"
    if origin is dict:
        return f"Mapping[{_type(arguments[0], done, written)}, {_type(arguments[1], done, written)}]"
    if isinstance(given, type) and issubclass(given, msgspec.Struct):
        return f"{_write(given, done, written)} | msgspec.Struct"
    raise TypeError(f"{given} has no place in a request yet: add it here")


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _summary(struct: type[msgspec.Struct]) -> str:
    return (struct.__doc__ or "").strip().partition("\n")[0]


if __name__ == "__main__":
    FILE.write_text(text())
