"""`dyff export`: entities as JSON in forms that others have defined (docs/exports.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dyff.cli import connecting, reporting

if TYPE_CHECKING:
    from dyff.sdk import Client


@click.group()
def export() -> None:
    """Write entities in standard forms, for other programs and other people."""


def _output(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The file to write; it is replaced. By default it is printed.",
    )(command)


@export.command()
@click.argument("entity_id", metavar="DATASET_ID")
@click.option("--license", "license_url", metavar="URL", help="The licence, as you state it: the platform does not know it.")
@click.option("--citation", metavar="TEXT", help="How to cite it, as you state it.")
@_output
def croissant(entity_id: str, license_url: str | None, citation: str | None, output: Path | None) -> None:
    """Write a dataset as Croissant 1.1: its files with digests and addresses, and its columns."""
    with connecting.connected() as client:
        _write(client.datasets.croissant(entity_id, license=license_url, citation=citation), output)


@export.command()
@click.argument("entity_id", metavar="ID")
@_output
def eee(entity_id: str, output: Path | None) -> None:
    """Write the scores of a safety case or a measurement as Every Eval Ever 0.3.0."""
    with connecting.connected() as client:
        _write(_group_of(client, entity_id, ("SafetyCase", "Measurement")).eee(entity_id), output)


@export.command()
@click.argument("entity_id", metavar="ID")
@_output
def provenance(entity_id: str, output: Path | None) -> None:
    """Write where a score, safety case, measurement or evaluation comes from, as W3C PROV-JSON: all inputs and code with digests."""
    with connecting.connected() as client:
        analysis = _analysis_of_score(client, entity_id)
        group = client.apigroup(analysis[0]) if analysis else _group_of(client, entity_id, ("SafetyCase", "Measurement", "Evaluation"))
        _write(group.provenance(analysis[1] if analysis else entity_id), output)


def _analysis_of_score(client: Client, score_id: str) -> tuple[str, str] | None:
    """The kind and the ID of the analysis with this score; None if no score that the token may see has this ID."""
    from dyff.sdk import errors

    for kind in ("SafetyCase", "Measurement"):
        try:
            found = client.apigroup(kind).query_scores(id=score_id)
        except errors.NotAllowed:
            continue
        if found:
            return kind, found[0].analysis
    return None


def _group_of(client: Client, entity_id: str, kinds: Sequence[str]) -> Any:
    """The group of the kind that the entity has."""
    from dyff.sdk import errors

    refused: Exception | None = None
    for kind in kinds:
        group = client.apigroup(kind)
        try:
            group.get(entity_id)
        except errors.Missing:
            continue
        except errors.NotAllowed as error:
            refused = error
            continue
        return group
    if refused is not None:
        raise refused
    *others, last = (each.lower() for each in kinds)
    return reporting.stop(f"there is no {', '.join(others)} or {last} with the ID {entity_id}", reporting.MISSING)


def _write(found: Any, output: Path | None) -> None:
    if output is None:
        reporting.document(found)
        return
    output.write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    reporting.line(str(output))
