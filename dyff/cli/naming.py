"""The arguments [KIND] ID of the commands: what a person wrote, and the entity that it means.

The kind can be left out: each kind is asked for the ID, the likely ones first. An ID can be abbreviated to its first digits: of each kind
two entities are asked for, in the order of their IDs, so it is known whether there is exactly one, however many there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from dyff.cli import completing, kinds, reporting

if TYPE_CHECKING:
    from dyff.entities.kind import Kind
    from dyff.sdk import Client

MIN_DIGITS = 4
"""Of an abbreviated ID. Fewer would be ambiguous too soon."""
MAX_IDS = 100
"""In one command."""
MOST_NAMED = 9
"""Of kinds, in one message."""
_WHOLE = re.compile(r"[0-9a-f]{32}")
_BEGINNING = re.compile(r"[0-9a-f]{1,31}")


class Target(NamedTuple):
    """An entity: its kind and its ID."""

    row: Kind
    id: str


@dataclass(frozen=True)
class Feature:
    """What kinds must have: `has` says whether the row of a kind has it. `what`: what that is, for people."""

    has: Callable[[Kind], bool] = lambda _: True
    what: str = ""

    def rows(self) -> list[Kind]:
        """The kinds that have it, the likely ones first: runs with results, other runs, what has data, the others."""
        return sorted(filter(self.has, kinds.all_rows()), key=lambda row: (row.run is None, row.upload is not None, row.download is None))

    def require(self, row: Kind) -> None:
        """Refuse a kind that does not have it.

        Raises:
            kinds.Unknown: it does not.
        """
        if row not in self.rows():
            raise kinds.Unknown(f"{row.plural} have no {self.what}; {', '.join(each.plural for each in self.rows())} do")


ANY = Feature()


@dataclass(frozen=True)
class Asked:
    """What a person wrote. `row`: None if the kind was left out. `ids`: whole or abbreviated."""

    row: Kind | None
    ids: tuple[str, ...]
    feature: Feature

    def target(self, client: Client, *, whole: bool = False) -> Target:
        """The one entity; see `targets`."""
        return self.targets(client, whole=whole)[0]

    def targets(self, client: Client, *, whole: bool = False) -> list[Target]:
        """The entities, in the order in which they were written. `whole`: abbreviated IDs are refused.

        Raises:
            Ended: one does not exist, is ambiguous, or is refused.
            SdkError: the server refused.
        """
        for each in self.ids if whole else ():
            if not _WHOLE.fullmatch(each):
                reporting.stop(
                    f"this needs the whole ID, of 32 hexadecimal digits, not {each!r}: 'dyff get {quote(each)}' shows it", reporting.WRONG
                )
        return [_found(client, self, each) for each in self.ids]


def _found(client: Client, asked: Asked, entity_id: str) -> Target:
    rows = asked.feature.rows() if asked.row is None else [asked.row]
    if _WHOLE.fullmatch(entity_id):
        return Target(rows[0], entity_id) if len(rows) == 1 else _of_some_kind(client, rows, entity_id)
    return _begun(client, rows, entity_id)


def _of_some_kind(client: Client, rows: Sequence[Kind], entity_id: str) -> Target:
    from dyff.sdk import errors

    refused: Exception | None = None
    for row in rows:
        try:
            kinds.group(client, row).get(entity_id)
        except errors.Missing:
            continue
        except errors.NotAllowed as error:
            refused = error
            continue
        return Target(row, entity_id)
    if refused is not None:
        raise refused
    return reporting.stop(f"there is no {_any_of(rows)} with the ID {entity_id}, or this token may not see it", reporting.MISSING)


def _begun(client: Client, rows: Sequence[Kind], beginning: str) -> Target:
    from dyff.sdk import errors

    found: list[Target] = []
    for row in rows:
        try:
            near = kinds.group(client, row).query(order_by="id", order="ascending", after=(beginning, beginning), limit=2)
        except errors.NotAllowed:
            continue
        found += [Target(row, each.id) for each in near if each.id.startswith(beginning)]
        if len(found) > 1:
            named = " and ".join(f"{each.row.name.lower()} {each.id}" for each in found[:2])
            reporting.stop(f"{beginning} is the beginning of several IDs, such as those of {named}: give more digits", reporting.WRONG)
    if not found:
        reporting.stop(f"there is no {_any_of(rows)} whose ID begins with {beginning}, or this token may not see it", reporting.MISSING)
    return found[0]


def _any_of(rows: Sequence[Kind]) -> str:
    if len(rows) > MOST_NAMED:
        return "entity"
    *others, last = (each.name.lower() for each in rows)
    return f"{', '.join(others)} or {last}" if others else last


def parsed(words: Sequence[str], feature: Feature, *, many: bool = False) -> Asked:
    """What the words [KIND] ID mean; `KIND/ID` is the same. `many`: several IDs are allowed.

    Raises:
        kinds.Unknown: the first one is no kind, or one without that feature.
        ValueError: one is no ID, or they are too many or too few.
    """
    first, slash, rest = words[0].partition("/")
    given = [first, *([rest] if slash else []), *words[1:]]
    row = None
    if len(given) > 1 and not _is_id(given[0]):
        row = kinds.named(given.pop(0))
        feature.require(row)
    elif kinds.is_named(given[0]):
        raise ValueError(f"give the ID of the {kinds.named(given[0]).name.lower()}, too; 'dyff ls {quote(given[0])}' lists them")
    if len(given) > (MAX_IDS if many else 1):
        raise ValueError(f"at most {MAX_IDS} IDs fit into one command" if many else f"one ID is expected, not {len(given)}")
    ids = tuple(dict.fromkeys(each.lower() for each in given))
    for each in ids:
        _require_id(each)
    return Asked(row, ids, feature)


def _is_id(text: str) -> bool:
    plain = text.lower()
    return bool(_WHOLE.fullmatch(plain) or (len(plain) >= MIN_DIGITS and _BEGINNING.fullmatch(plain)))


def _require_id(text: str) -> None:
    if not text:
        raise ValueError("the ID is empty")
    text.encode()  # what the shell passes can have any bytes: that has an error of its own
    if not _is_id(text):
        if _BEGINNING.fullmatch(text):
            raise ValueError(f"{text!r} is too short: an ID has 32 hexadecimal digits, of which at least {MIN_DIGITS} are needed")
        raise ValueError(f"{text[:100]!r} is no ID: one has 32 hexadecimal digits, such as {'0123456789abcdef' * 2}")


class Words(click.ParamType):  # type: ignore[type-arg]  # as `kinds.KindParam`
    """One of the words [KIND] ID, for completion."""

    name = "word"

    def __init__(self, feature: Feature) -> None:
        """`feature`: of the kinds that are offered."""
        self._feature = feature

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[click.shell_completion.CompletionItem]:
        before = [each for each in ctx.params.get(param.name or "") or () if isinstance(each, str)]
        row = kinds.named(before[0]) if before and kinds.is_named(before[0]) else None
        if row is None:
            return [] if before else kinds.completions(self._feature.rows(), incomplete)
        return completing.ids(row, incomplete)


def argument(feature: Feature = ANY, *, many: bool = False, metavar: str | None = None) -> Callable[[Any], Any]:
    """The arguments [KIND] ID of a command, which gets them as `asked`. `many`: several IDs."""

    def asked(context: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> Any:
        if context.resilient_parsing:  # for a completion: they are not all there yet
            return words
        try:
            return parsed(words, feature, many=many)
        except UnicodeEncodeError:
            raise click.BadParameter(f"{words!a} is not UTF-8, which it has to be here", context, parameter) from None
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from None

    name = metavar or ("[KIND] ID..." if many else "[KIND] ID")
    return click.argument("asked", nargs=-1, required=True, metavar=name, type=Words(feature), callback=asked)
