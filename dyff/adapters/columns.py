"""Which fields of an item a pipeline uses, so that others need not be converted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dyff.adapters import fields, paths


class _Item:
    """What is known of the item between two adapters: which fields of the dataset's row are in it, and which were used so far.

    `others`: whether it has all fields of the row but those in `gone`; else it has none of them, apart from what was used.
    """

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.gone: set[str] = set()
        self.others = True
        self.all = False

    def use(self, names: Iterable[str]) -> None:
        """Use fields by the names that they have now. One that an adapter has made, or that has been dropped, is none of the row."""
        if self.others:
            self.used.update(name for name in names if name not in self.gone)

    def use_all(self) -> None:
        """Use all fields that are in the item."""
        self.all = self.all or self.others


def used(pipeline: Iterable[fields.Json]) -> tuple[frozenset[str], bool, frozenset[str]]:
    """Return what a valid pipeline uses of an item: names of fields, whether all others are used, too, and those that are then not.

    It is exact about names at the top of the item, and says too much rather than too little.
    """
    item = _Item()
    for adapter in _flat(pipeline):
        _follow(item, adapter["kind"], adapter.get("configuration") or {})
    item.use_all()
    return frozenset(item.used), item.all, frozenset(item.gone - item.used)


def _flat(pipeline: Iterable[fields.Json]) -> Iterator[fields.Json]:
    for adapter in pipeline:
        if adapter["kind"] == "Pipeline":
            yield from _flat(adapter["configuration"]["adapters"])
        else:
            yield adapter


def _follow(item: _Item, kind: str, configuration: fields.Json) -> None:
    if item.all:
        return
    match kind:
        case "Drop":
            item.gone.update(configuration["fields"])
        case "Select":
            item.use(configuration["fields"])
            item.others = False
        case "Rename":
            item.use(configuration)
            item.gone.update(configuration, configuration.values())
        case "ExplodeCollections":
            index = configuration.get("index") or {}
            _use_queries(item, [query for query in index.values() if query is not None])
            item.use(configuration["collections"])
            item.gone.update(index)
        case "TransformJSON":
            _use_queries(item, _texts(configuration))
            item.others = False
        case "FileUpload":  # its field is a query also without a dollar
            _use_queries(item, [configuration["field"], *_texts(configuration)])
            item.others = False
        case "Map":
            item.use(configuration["collections"])
        case _:  # its result has other names, which later adapters can use
            item.use_all()


def _use_queries(item: _Item, queries: Iterable[str]) -> None:
    for query in queries:
        root = paths.root(query)
        if root is None:
            item.use_all()
        else:
            item.use([root])


def _texts(template: Any) -> Iterator[str]:
    """Yield all texts in a template that can be queries. A literal that looks like one is counted, which does no harm."""
    if isinstance(template, dict):
        for each in template.values():
            yield from _texts(each)
    elif isinstance(template, list):
        for each in template:
            yield from _texts(each)
    elif isinstance(template, str) and template.startswith("$") and not template.startswith("$$"):
        yield template
