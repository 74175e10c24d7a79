"""`dyff samples`: items of an evaluation with what was answered, and how that was scored."""

from __future__ import annotations

import math
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from dyff.cli import connecting, naming, reporting, sample_lines, terminals

if TYPE_CHECKING:
    from dyff.sdk import Client, models

MOST = 1000
PAGE = 100
PAGES = 500
"""How often the server is asked for one command. It looks at a bounded number of outputs each time."""
LINES = 12
"""Of one value, unless one index is asked for."""
PLAIN_WIDTH = 100
"""Of texts where the output is no terminal."""
_EVALUATIONS = naming.Feature(lambda row: row.name == "Evaluation", "samples")


def _number(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("it must be a finite number", context, option)
    return value


@click.command()
@naming.argument(_EVALUATIONS, metavar="ID")
@click.option("--errors/--no-errors", default=None, help="Only samples with an error, or without one.")
@click.option("--text", help="Only samples with this text in the item, an answer or the error; lower and upper case are the same.")
@click.option("--index", type=click.IntRange(0), help="Only this index: whole values, and every replication.")
@click.option("--replication", help="Only this replication: its number from 0, or its ID.")
@click.option("--score", metavar="COLUMN", help="Only samples with a value in this column of a measurement; see --min, --max and --value.")
@click.option("--min", "least", type=float, callback=_number, metavar="X", help="Of the score: X or more.")
@click.option("--max", "most", type=float, callback=_number, metavar="X", help="Of the score: X or less.")
@click.option("--value", metavar="V", help="Of the score: exactly this text, number, true or false.")
@click.option("--measurement", "measurements", multiple=True, metavar="ID", help="Whose scores are shown. By default the newest 8.")
@click.option("--incomplete", is_flag=True, help="Also of an evaluation that has failed: what it completed.")
@click.option("--limit", type=click.IntRange(1, MOST), default=10, show_default=True, help="The most that are printed.")
@click.option("--after", metavar="CURSOR", help="Go on behind an earlier page: the command says how.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def samples(asked: naming.Asked, limit: int, after: str | None, as_json: bool, **given: Any) -> None:
    """Show samples of an evaluation: items, answers, errors and scores, as conversations where they are some.

    For instance those that a measurement scored as wrong: dyff samples ID --score correct --value false
    """
    if given["score"] is None and any(given[each] is not None for each in ("least", "most", "value")):
        raise click.UsageError("--min, --max and --value say which values of a score: give --score COLUMN, too")
    with connecting.connected() as client:
        _, evaluation = asked.target(client)
        filters = {**given, "measurements": list(given["measurements"]) or None}
        found = _of_index(client, evaluation, filters) if _is_one(filters, after) else _pages(client, evaluation, filters, limit, after)
    if as_json:
        reporting.document({"samples": found.samples, "next": found.next, "missing": found.missing})
    else:
        _print(found, None if given["index"] is not None else LINES)
    if found.next is not None:
        reporting.note(f"(there may be more: --after {quote(found.next)} goes on)")


def _is_one(filters: dict[str, Any], after: str | None) -> bool:
    """Whether a single index is asked for and nothing else, of which the server has whole values."""
    others = ("errors", "text", "score", "measurements")
    return filters["index"] is not None and after is None and all(filters[each] is None for each in others)


def _of_index(client: Client, evaluation: str, filters: dict[str, Any]) -> models.Samples:
    from dyff.entities.samples import Samples

    found = client.evaluations.sample(evaluation, filters["index"], incomplete=filters["incomplete"])
    wanted = filters["replication"]
    return Samples(samples=[each for each in found if wanted is None or wanted in (each.replication, str(each.number))])


def _pages(client: Client, evaluation: str, filters: dict[str, Any], limit: int, after: str | None) -> models.Samples:
    """As many samples as are asked for, from as many pages as that takes."""
    from dyff.entities.samples import Samples

    found: list[models.Sample] = []
    missing: dict[tuple[str, str], Any] = {}
    looked = 0
    for _ in range(PAGES):
        page = client.evaluations.samples_page(evaluation, **filters, limit=min(limit - len(found), PAGE), after=after)
        found += page.samples
        looked += page.looked
        missing |= {(each.what, each.why): each for each in page.missing}
        after = page.next
        if after is None or len(found) >= limit:
            break
    return Samples(samples=found, next=after, looked=looked, missing=list(missing.values()))


def _print(found: models.Samples, most: int | None) -> None:
    width = terminals.columns() or PLAIN_WIDTH
    for number, sample in enumerate(found.samples):
        if number:
            reporting.line("")
        text = sample_lines.heading(sample)
        reporting.line(terminals.bold(text))
        for each in sample_lines.lines(sample, width, most):
            reporting.line(each)
    if not found.samples:
        reporting.note("there are no samples like that")
    for left in found.missing:
        reporting.note(f"not shown: {left.what}: {left.why}")
