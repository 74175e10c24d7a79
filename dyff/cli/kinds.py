"""The argument KIND of the commands: a kind of entity, by any of its names, and the group of the client that has its operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dyff.entities.kind import Kind
    from dyff.sdk import Client


class KindParam(click.ParamType):  # type: ignore[type-arg]  # only newer releases of Click have a parameter
    """A kind: `evaluation`, `evaluations` or `Evaluation`. Only those that satisfy `feature`, an attribute of their rows."""

    name = "kind"

    def __init__(self, feature: str | None = None, what: str = "") -> None:
        """`feature`: None for all kinds. `what`: what those have, for an error."""
        self._feature, self._what = feature, what

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Kind:
        from dyff.entities import registry
        from dyff.kernel import suggestions

        known = {name: row for row in registry.ROWS for name in (row.plural, row.name.lower())}
        found = known.get(str(value).lower())
        if found is None:
            near = suggestions.nearest(str(value).lower(), known)
            meant = f"did you mean {near!r}? " if near else ""
            self.fail(f"there is no kind {value!r}; {meant}known are {', '.join(self._plurals())}", param, ctx)
        if self._feature is not None and getattr(found, self._feature) is None:
            self.fail(f"{found.plural} have no {self._what}; {', '.join(self._plurals())} do", param, ctx)
        return found

    def _plurals(self) -> list[str]:
        from dyff.entities import registry

        return [row.plural for row in registry.ROWS if self._feature is None or getattr(row, self._feature) is not None]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[click.shell_completion.CompletionItem]:
        return [click.shell_completion.CompletionItem(each) for each in self._plurals() if each.startswith(incomplete)]


def group(client: Client, row: Kind) -> Any:
    """The client's group of a kind."""
    return client.apigroup(row.name)
