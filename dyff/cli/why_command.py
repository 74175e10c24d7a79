"""`dyff why`: what an entity waits for, or why it ended, and what to do."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import click

from dyff.cli import connecting, kinds, naming, reporting, terminals

if TYPE_CHECKING:
    from dyff.entities.kind import Kind
    from dyff.sdk import Client, models

EVENTS = 5
"""The last statuses that are shown."""
MOST_EVENTS = 2000
"""Of a longer history, the beginning alone is read."""


@click.command()
@naming.argument()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def why(asked: naming.Asked, as_json: bool) -> None:
    """Say what an entity waits for, or why it ended: its state in words, what it needs, its quota, its last statuses, and what to do."""
    with connecting.connected() as client:
        row, entity_id = asked.target(client)
        found = _gathered(client, row, entity_id)
    if as_json:
        reporting.document(found)
    else:
        _print(found)


def _gathered(client: Client, row: Kind, entity_id: str) -> dict[str, Any]:
    from dyff.cli import waiting_words

    its = kinds.group(client, row)
    entity = its.get(entity_id)
    needs = its.dependencies(entity_id)
    events: deque[models.Transition] = deque(maxlen=EVENTS)
    for number, each in enumerate(its.history(entity_id), 1):
        events.append(each)
        if number == MOST_EVENTS:
            break
    said = waiting_words.words(entity, row.name.lower(), needs, row.logs is not None)
    return {
        "kind": row.name, "id": entity_id, "status": entity.status, "reason": entity.reason, "message": entity.message,
        "what": said.what, "progress": its.progress(entity_id), "needs": needs, "quotas": _quotas(client, row, entity),
        "events": list(events), "next": list(said.next),
    }  # fmt: skip


def _quotas(client: Client, row: Kind, entity: Any) -> models.QuotasInUse | None:
    """What its account uses, of a kind that takes a part of it and has not ended; None if the token may not see that."""
    from dyff.entities import statuses
    from dyff.sdk import errors

    if row.run is None or statuses.is_terminal(entity.status):
        return None
    try:
        return client.accounts.get_quotas(entity.account)
    except (errors.NotAllowed, errors.Missing):
        return None


def _print(found: dict[str, Any]) -> None:
    reason = f", {found['reason']}" if found["reason"] else ""
    status = terminals.coloured(found["status"], reporting.harmless(f"{found['status']}{reason}"))
    reporting.line(f"{found['kind']} {found['id']}: {status}")
    reporting.line(reporting.harmless(found["what"]))
    progress = found["progress"]
    doing = progress.message if progress is not None else None
    for text in dict.fromkeys(each for each in (found["message"], doing) if each):
        reporting.line(reporting.harmless(f"  {text}".replace("\n", "\n  ")))
    if progress is not None and progress.total is not None:
        reporting.line(f"  {progress.done or 0} of {progress.total} items")
    if found["needs"]:
        _heading("Needs")
        rows = [[each.kind, each.id, each.name, each.status or "not visible", each.reason, _must(each)] for each in found["needs"]]
        reporting.table(["kind", "id", "name", "status", "reason", "required"], rows, optional=("required", "name"))
    if found["quotas"] is not None and (rows := _in_use(found["quotas"])):
        _heading("Quota of its account")
        reporting.table(["what", "used", "limit"], rows)
    if found["events"]:
        _heading("Last statuses")
        rows = [[reporting.seconds(each.time), each.status, each.reason, each.message, each.by] for each in found["events"]]
        reporting.table(["time", "status", "reason", "message", "by"], rows, optional=("by",))
    if found["next"]:
        _heading("Next")
        for each in found["next"]:
            reporting.line(reporting.harmless(f"  {each}"))


def _must(need: Any) -> str:
    return "yes" if need.required else ""


def _heading(text: str) -> None:
    reporting.line("")
    reporting.line(terminals.bold(text))


def _in_use(quotas: models.QuotasInUse) -> list[list[str]]:
    """What is limited."""
    named = {"workflows": quotas.admitted, "cores": quotas.cpu, "memory": quotas.memory, **quotas.accelerators}
    return [[name, each.used, each.limit] for name, each in named.items() if each.limit is not None]
