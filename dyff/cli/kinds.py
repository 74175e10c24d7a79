"""The argument KIND of the commands: a kind of entity, by any of its names, and the group of the client that has its operations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dyff.entities.kind import Kind
    from dyff.sdk import Client

_GROUP = ".dyff.io"
"""What kubectl lets follow the plural of a custom resource."""


class Unknown(ValueError):
    """The name is that of no kind, or of several; the message says which there are."""


def named(name: str) -> Kind:
    """The kind with this name: `evaluation`, `evaluations`, `Evaluation`, `inference-services`, or as kubectl names its resource.

    Raises:
        Unknown: there is none, or there are several.
    """
    from dyff.entities import registry
    from dyff.kernel import suggestions

    known, shared = _names()
    plain = _plain(name)
    if plain in known:
        return known[plain]
    if plain in shared:
        raise Unknown(f"{name!r} is {' or '.join(row.name.lower() for row in shared[plain])}: say which")
    near = suggestions.nearest(plain, known)
    meant = f"did you mean {near!r}? " if near else ""
    raise Unknown(f"there is no kind {suggestions.shown(name)!r}; {meant}known are {', '.join(row.plural for row in registry.ROWS)}")


def is_named(name: str) -> bool:
    """Whether this is a name of kinds."""
    known, shared = _names()
    return _plain(name) in known or _plain(name) in shared


def _plain(name: str) -> str:
    return name.lower().removesuffix(_GROUP).replace("-", "").replace("_", "")


def _names() -> tuple[dict[str, Kind], dict[str, list[Kind]]]:
    """The kinds by each of their names, and the names in Kubernetes that several share."""
    from dyff.entities import registry

    resources: dict[str, list[Kind]] = {}
    for row in registry.ROWS:
        for name in _of_resource(row):
            resources.setdefault(name, []).append(row)
    own = {name: row for row in registry.ROWS for name in (row.plural, row.name.lower())}
    single = {name: rows[0] for name, rows in resources.items() if len(rows) == 1}
    return {**single, **own}, {name: rows for name, rows in resources.items() if len(rows) > 1}


def _of_resource(row: Kind) -> set[str]:
    if row.run is None:
        return set()
    resource = row.run.resource
    return {resource.kind.lower(), resource.plural, *resource.aliases}


def all_rows() -> list[Kind]:
    """The rows of all kinds, which take time to load."""
    from dyff.entities import registry

    return [*registry.ROWS]


class KindParam(click.ParamType):  # type: ignore[type-arg]  # only newer releases of Click have a parameter
    """A kind, by any of its names."""

    name = "kind"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Kind:
        try:
            return named(str(value))
        except Unknown as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[click.shell_completion.CompletionItem]:
        return completions(all_rows(), incomplete)


def completions(rows: Iterable[Kind], incomplete: str) -> list[click.shell_completion.CompletionItem]:
    """The plurals that begin like this."""
    return [click.shell_completion.CompletionItem(row.plural) for row in rows if row.plural.startswith(incomplete.lower())]


def group(client: Client, row: Kind) -> Any:
    """The client's group of a kind."""
    return client.apigroup(row.name)
