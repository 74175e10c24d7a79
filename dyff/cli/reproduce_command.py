"""`dyff reproduce`: run an analysis again, ask items again, and say how far both agree (docs/exports.md)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from dyff.cli import connecting, reporting

if TYPE_CHECKING:
    from dyff.sdk.models import Reproduced


def _is_number(context: click.Context, option: click.Parameter, value: float) -> float:
    if math.isnan(value):  # which a range does not refuse
        raise click.BadParameter("it must be a number, not nan", context, option)
    return value


@click.command()
@click.argument("entity_id", metavar="ID")
@click.option("--items", type=click.IntRange(0, 10_000), default=0, show_default=True, help="Ask the system so many items again.")
@click.option("--account", help="The account of the new run. By default that of the original.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    callback=_is_number,
    help="The largest relative difference of a score that counts as agreement.",
)
@click.option("--exact", is_flag=True, help="Scores, files and answers must all be equal.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=3600.0,
    show_default=True,
    callback=_is_number,
    metavar="SECONDS",
    help="How long to wait for each run.",
)
@click.option("--quiet", is_flag=True, help="Do not show the progress.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def reproduce(
    entity_id: str, items: int, account: str | None, tolerance: float, exact: bool, timeout: float, quiet: bool, as_json: bool
) -> None:
    """Run a safety case or a measurement again, or ask items of an evaluation again, and compare.

    The exit code is 0 if both agree, and 8 if they differ.
    """
    with connecting.connected() as client:
        found = client.reproduce(
            entity_id, items=items, account=account, tolerance=tolerance, exact=exact, timeout_s=timeout, progress=not quiet
        )
    if as_json:
        reporting.document(found)
    else:
        for line in lines(found):
            reporting.line(reporting.harmless(line))
    if not found.agrees:
        reporting.stop(f"the reproduction of {entity_id} differs from it", reporting.DIFFERS)


def lines(found: Reproduced) -> list[str]:
    """The report for people, line by line."""
    said = [f"{found.kind} {found.original}"]
    if found.reproduction is not None:
        said.append(f"reproduction {found.reproduction}")
        equal, within = sum(each.equal for each in found.scores), sum(each.within for each in found.scores)
        said.append(f"scores: {len(found.scores)} compared, {equal} equal, {within} within a tolerance of {found.tolerance:g}")
        said += [f"  {each.name}: {each.original!r}, again {each.reproduction!r}, difference {each.difference!r}" for each in found.scores]
    for name, only in (("the original", found.onlyOriginal), ("the reproduction", found.onlyReproduction)):
        said += [f"  only in {name}: {each}" for each in only]
    if found.curves:
        said.append(f"curves: {found.curves} compared, {found.equalCurves} equal")
    if found.outputs is not None:
        said += _outputs(found)
    if found.items is not None:
        items = found.items
        said.append(f"items of {items.evaluation}, asked again in {items.reproduction}: {items.compared} compared, {items.equal} equal, "
                    f"{items.unanswered} unanswered")  # fmt: skip
        said += [f"  differing: {', '.join(map(str, items.differing))}"] if items.differing else []
        said.append(f"  {items.meaning}")
    said.append("agrees" if found.agrees else "differs")
    return said


def _outputs(found: Reproduced) -> list[str]:
    outputs = found.outputs
    assert outputs is not None
    words = {True: "equal", False: "different", None: "not known"}
    counted = "" if outputs.compared is None else f", {outputs.compared} files compared"
    said = [f"digests of the outputs: {words[outputs.equal]}{counted}"]
    said += [f"  differing: {each}" for each in outputs.differing]
    return [*said, f"environment of the code: {({True: 'the same', False: 'another one', None: 'not known'})[found.sameEnvironment]}"]
