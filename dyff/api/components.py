"""The schemas of the OpenAPI document, made from structs. Pure.

A schema is called like its struct. Where a part of a request and a part of an answer have the same name, the request's keeps it
and the answer's gets the suffix `Answer`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, get_args, get_origin

import msgspec

from dyff.entities import codecs, described
from dyff.kernel import errors, patches

PLACE = "#/components/schemas/"
_SUFFIX = "Answer"
_VALUES = frozenset({"const", "default", "enum", "example", "examples"})
"""Keywords whose values are data, not schemas."""

_BY_NAME = frozenset({"dependentSchemas", "patternProperties", "properties"})
"""Keywords with schemas by name."""


class Components:
    """The schemas of some types, and of all structs in them."""

    def __init__(self, types: Iterable[Any]) -> None:
        """`types`: structs, or lists and the like of them.

        Raises:
            Incomplete: two structs would have the same name.
        """
        self._types = list(dict.fromkeys(types))
        structs = list(dict.fromkeys(struct for each in self._types for struct in _structs(each, set())))
        given, components = msgspec.json.schema_components([*structs, *self._types], ref_template="{name}")
        known = [each["$ref"] for each in given[: len(structs)]]
        names = _names(dict(zip(known, structs, strict=True)))
        self._places = {name: PLACE + new for name, new in names.items()}
        self._places |= {described.reference(struct): PLACE + names[name] for name, struct in zip(known, structs, strict=True)}
        self.schemas: codecs.Json = {}
        for name, struct in zip(known, structs, strict=True):
            self.schemas[names[name]] = self._component(struct, components[name])
        self._by_type = dict(zip(self._types, map(self._schema, given[len(structs) :]), strict=True))

    def of(self, type_: Any) -> codecs.Json:
        """The schema of one of the types: a reference where it is a struct."""
        schema: codecs.Json = self._by_type[type_]
        return schema

    def _component(self, struct: type[Any], given: codecs.Json) -> codecs.Json:
        whole = patches.merged({key: value for key, value in given.items() if key != "title"}, getattr(struct, "rules", {}))
        words = whole.get("description")
        if words:
            whole["description"] = _cleaned(words)
        schema: codecs.Json = self._schema(whole)
        return schema

    def _schema(self, given: Any) -> Any:
        """`given` with our references and patterns."""
        if isinstance(given, list):
            return [self._schema(each) for each in given]
        if not isinstance(given, dict):
            return given
        found: codecs.Json = {}
        for key, value in given.items():
            if key in _VALUES:
                found[key] = value
            elif key in _BY_NAME:
                found[key] = {name: self._schema(each) for name, each in value.items()}
            elif key == "$ref":
                found[key] = self._places[value]
            elif key == "pattern":
                found[key] = described.pattern(value)
            else:
                found[key] = self._schema(value)
        if "enum" in found and all(isinstance(each, str) for each in found["enum"]):
            found.setdefault("type", "string")
        if "$ref" in found:
            # A plain object with the form of a struct: the struct says it better.
            found.pop("type", None)
            found.pop("additionalProperties", None)
        return found


def _structs(type_: Any, seen: set[Any]) -> Iterator[type[msgspec.Struct]]:
    """All structs in a type, also those that a plain object is like. `seen`: those that were found before."""
    if get_origin(type_) is Annotated:
        for each in type_.__metadata__:
            if isinstance(each, msgspec.Meta) and each.extra and "like" in each.extra:
                yield from _structs(each.extra["like"], seen)
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct) and type_ not in seen:
        seen.add(type_)
        yield type_
        for field in msgspec.structs.fields(type_):
            yield from _structs(field.type, seen)
    for each in get_args(type_):
        yield from _structs(each, seen)


def _names(structs: dict[str, type[msgspec.Struct]]) -> dict[str, str]:
    """By the library's name, which may have a module, that in the document."""
    by_short: defaultdict[str, list[str]] = defaultdict(list)
    for name in structs:
        by_short[name.rpartition(".")[2]].append(name)
    found: dict[str, str] = {}
    for short, several in by_short.items():
        for name in several:
            is_answer = len(several) > 1 and not structs[name].__struct_config__.forbid_unknown_fields
            found[name] = f"{short}{_SUFFIX}" if is_answer else short
    if len(set(found.values())) < len(found):
        twice = sorted(name for name, new in found.items() if list(found.values()).count(new) > 1)
        raise errors.Incomplete(f"the OpenAPI document would have one name for these structs, so rename one: {', '.join(twice)}")
    return found


def _cleaned(docstring: str) -> str:
    """A docstring as text: its paragraphs, each in one line."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in docstring.split("\n\n"))
