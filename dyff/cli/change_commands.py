"""`dyff label`, `terminate` and `delete`: what changes entities. What cannot be undone is asked for first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from dyff.cli import connecting, kinds, naming, reporting, terminals
from dyff.entities import statuses

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_yes = click.option("--yes", "-y", "sure", is_flag=True, help="Do not ask. Needed where nobody can be asked.")
_ENDED = naming.Feature(lambda row: row.success == statuses.TERMINATED, "way to end them (delete them instead)")


def _is_change(word: str) -> bool:
    return "=" in word or word.endswith("-")


def changes(words: Sequence[str]) -> dict[str, str | None]:
    """The labels that words such as `key=value` set and `key-` remove: None for the latter.

    Raises:
        ValueError: one is neither, or a key is there twice.
    """
    found: dict[str, str | None] = {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key if equals else word.removesuffix("-")
        if not key or not (equals or word.endswith("-")):
            raise ValueError(f"{word[:100]!r} is no change of a label: give KEY=VALUE, or KEY- to remove it")
        if key in found:
            raise ValueError(f"the label {key[:100]!r} is there twice; an entity has one value for each key")
        found[key] = value if equals else None
    return found


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, required=True, metavar="[KIND] ID [KEY=VALUE | KEY-]...", type=naming.Words(naming.ANY))
@_as_json
def label(words: tuple[str, ...], as_json: bool) -> None:
    """Set labels of an entity (KEY=VALUE) and remove labels (KEY-), and show all that it has then."""
    names = [word for word in words if not _is_change(word)]
    try:
        wanted = changes([word for word in words if _is_change(word)])
        if not names:
            raise ValueError("give the ID of an entity, too: dyff label [KIND] ID KEY=VALUE")
        asked = naming.parsed(names, naming.ANY)
    except UnicodeEncodeError:
        raise click.UsageError(f"{words!a} is not UTF-8, which it has to be here") from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with connecting.connected() as client:
        row, entity_id = asked.target(client)
        group = kinds.group(client, row)
        if wanted:
            group.label(entity_id, wanted)
        labels = group.get(entity_id).labels
    if as_json:
        reporting.document(labels)
    elif labels:
        reporting.fields(sorted(labels.items()))
    else:
        reporting.note("it has no labels")


@click.command()
@naming.argument(_ENDED, many=True)
@_yes
@_as_json
def terminate(asked: naming.Asked, sure: bool, as_json: bool) -> None:
    """End inference sessions, which stop answering. Needs whole IDs."""
    _each(asked, sure, as_json, "Terminate", lambda group, entity_id: group.terminate(entity_id))


@click.command()
@naming.argument(many=True)
@_yes
@_as_json
def delete(asked: naming.Asked, sure: bool, as_json: bool) -> None:
    """Delete entities for good, with their data; what runs is ended. Needs whole IDs."""
    _each(asked, sure, as_json, "Delete", lambda group, entity_id: group.delete(entity_id))


def _each(asked: naming.Asked, sure: bool, as_json: bool, verb: str, act: Callable[[Any, str], Any]) -> None:
    """Do something irreversible to several entities: each has its own result, and one that fails does not prevent the others."""
    with connecting.connected() as client:
        targets = asked.targets(client, whole=True)
        if not sure:
            _confirm(client, targets, verb)
        results, codes = [], []
        for row, entity_id in targets:
            status, problem, code = _outcome(act, kinds.group(client, row), entity_id)
            results.append({"kind": row.name, "id": entity_id, "status": status, "error": problem})
            codes.append(code)
    if as_json:
        reporting.document(results)
    else:
        reporting.table(["kind", "id", "status", "error"], [list(each.values()) for each in results])
    if failed := {code for code in codes if code}:
        done = codes.count(0)
        reporting.stop(
            f"{len(codes) - done} of {len(codes)} {'was' if len(codes) - done == 1 else 'were'} refused",
            failed.pop() if len(failed) == 1 and not done else reporting.FAILED,
        )


def _outcome(act: Callable[[Any, str], Any], group: Any, entity_id: str) -> tuple[str | None, str | None, int]:
    """The status afterwards, or the problem, and the exit code."""
    try:
        with reporting.translated():
            return act(group, entity_id).status, None, 0
    except reporting.Ended as error:
        if error.exit_code in (reporting.INTERRUPTED, reporting.NO_SERVER):
            raise  # of all of them
        return None, error.message, error.exit_code


def _confirm(client: Any, targets: Sequence[naming.Target], verb: str) -> None:
    if not terminals.is_person():
        reporting.stop(f"{verb.lower()} cannot be undone, and there is no terminal to ask at: add --yes", reporting.WRONG)
    for row, entity_id in targets:
        entity = kinds.group(client, row).get(entity_id)
        name = f" {entity.name!r}" if getattr(entity, "name", None) else ""
        reporting.note(f"  {row.name} {entity_id}{name}, {entity.status}, of {entity.account}")
    if not click.confirm(f"{verb} {'it' if len(targets) == 1 else f'all {len(targets)}'}? This cannot be undone", err=True):
        reporting.stop("nothing was changed", reporting.NOT_CONFIRMED)
