"""What a reader of a safety case would take for granted although it is not so, as sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from dyff.entities import codecs, scopes
from dyff.entities.exports import evidence
from dyff.entities.exports.evidence import Gathered

MAX_WARNINGS = 20
_NAMED = 3


def of(gathered: Gathered, left_out: int) -> list[str]:
    """The sentences. `left_out`: the sorts of runs that were not counted."""
    return list(_all(gathered, left_out))[:MAX_WARNINGS]


def _all(gathered: Gathered, left_out: int) -> Iterator[str]:
    yield from _scope(gathered, gathered.root, "this safety case")
    if left_out:
        yield f"This case rests on so many runs that {left_out} sorts of them are not counted under “What is not shown”."
    if not gathered.is_all:
        limits = f"more than {evidence.MAX_ENTITIES} entities, or on one that is more than {evidence.MAX_DEPTH} steps away"
        yield f"This case rests on {limits}. What is beyond that is not named on this page, and its runs are not counted."
    for each in gathered.read("Measurement"):
        yield from _scope(gathered, each, f"the measurement {each['id']}")


def _scope(gathered: Gathered, analysis: codecs.Json, what: str) -> Iterator[str]:
    for field, named, others in scopes.contradictions(analysis, gathered.entities):
        word, more = scopes.WORDS[field], f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        listed = ", ".join(others[:_NAMED])
        yield f"{what[:1].upper()}{what[1:]} says that it is about the {word} {named}. What it reads is of {listed}{more}."
