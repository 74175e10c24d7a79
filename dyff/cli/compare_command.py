"""`dyff compare`: whether one system is better than another on the same items."""

from __future__ import annotations

from typing import Any

import click

from dyff.cli import connecting, naming, reporting

_RESULTS = naming.Feature(lambda row: row.name in ("Measurement", "SafetyCase"), "rows to compare")
LEAST, MOST = 2, 8
"""How many are compared, as the server has it."""


def _asked(context: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> list[naming.Asked]:
    try:
        found = [naming.parsed([word], _RESULTS) for word in words]
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None
    if not LEAST <= len(found) <= MOST:
        raise click.BadParameter(f"from {LEAST} to {MOST} can be compared, not {len(found)}", context, parameter)
    return found


@click.command()
@click.argument("asked", nargs=-1, required=True, metavar="A B [C]...", callback=_asked)
@click.option("--score", metavar="NAME", help="The score. By default the primary one.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def compare(asked: Any, score: str | None, as_json: bool) -> None:
    """Compare systems on the same items, by measurements or safety cases of the same method: A, B and so on are their IDs.

    Of each pair: the difference with its interval, and which one is better, or that no difference is shown.
    """
    with connecting.connected() as client:
        # Whole IDs go to the server as they are, which knows whose they are.
        ids = [each.ids[0] if len(each.ids[0]) == 32 else each.target(client).id for each in asked]
        found = client.compare(ids, None, score)
    if as_json:
        reporting.document(found)
    else:
        reporting.line(reporting.harmless(str(found)))
