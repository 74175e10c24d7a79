"""What an entity waits for, or why it ended, and what a person can do about it, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import Any, NamedTuple

from dyff.entities import statuses


class Words(NamedTuple):
    """`what`: a sentence about its state. `next`: what to do, each a sentence or a command."""

    what: str
    next: tuple[str, ...]


_OWN_QUOTA = "Account quota exceeded"


def words(entity: Any, kind: str, needs: Sequence[Any], has_logs: bool) -> Words:
    """Describe the state of an entity. `kind`: its name in commands. `needs`: what it depends on. `has_logs`: whether its kind has any."""
    status, reason, entity_id = entity.status, entity.reason or "", entity.id
    logs = (f"dyff logs {quote(kind)} {quote(entity_id)}",) if has_logs else ()
    if status in statuses.SUCCESS:
        return Words("It has succeeded, and waits for nothing.", ())
    if status == statuses.TERMINATED:
        return Words(
            f"It was ended{' by its expiry' if reason == statuses.EXPIRED else ''}, and will not run again.", ("Create it again.",)
        )
    if status == statuses.DELETED:
        return Words("It was deleted, for good.", ())
    if status in statuses.FAILURE:
        return _failed(reason, kind, entity_id, needs, logs)
    if status == statuses.WAITING_FOR_UPLOAD:
        if reason == statuses.FINALIZING:
            return Words("Its files are complete; the server checks and stores them.", (f"dyff wait {quote(kind)} {quote(entity_id)}",))
        return Words("It waits for its files.", ("Upload them, then finalize: the SDK's upload functions do both.",))
    if status == statuses.ADMITTED:
        return Words(f"It runs{_stage(reason)}.", (f"dyff wait {quote(kind)} {quote(entity_id)}", *logs))
    return _not_admitted(entity, kind, needs)


def _stage(reason: str) -> str:
    stages = {
        "Starting": ", and is being started",
        "WaitingForSession": ", and waits for the system under test to start",
        "Inference": ": the system under test is asked",
        "Fetching": ": its data are fetched",
        "Unverified": ": its outputs are checked",
    }
    return stages.get(reason, f" ({reason})" if reason else "")


def _failed(reason: str, kind: str, entity_id: str, needs: Sequence[Any], logs: tuple[str, ...]) -> Words:
    if reason == statuses.FAILED_DEPENDENCY:
        return Words("It did not run: something that it needs has failed.", _about(needs, failed=True))
    further = (f"dyff samples {quote(entity_id)} --incomplete --errors",) if kind == "evaluation" else ()
    return Words(f"It ended without success{f' ({reason})' if reason else ''}.", (*logs, *further))


def _not_admitted(entity: Any, kind: str, needs: Sequence[Any]) -> Words:
    reason, message = entity.reason, entity.message or ""
    if reason == statuses.UNSATISFIED_DEPENDENCY:
        return Words("It waits until what it needs has succeeded.", _about(needs, failed=False))
    if reason == statuses.QUOTA_LIMIT:
        if message.startswith(_OWN_QUOTA):
            return Words(
                "It waits until other workflows of its account have ended, and then starts by itself.",
                (f"dyff ls {quote(kind)} --account {quote(entity.account)} --status Admitted", "Or ask the operator for a higher quota."),
            )
        return Words("It waits until other workflows on this server have ended, and then starts by itself.", ())
    if reason == statuses.ACCOUNT_SUSPENDED:
        return Words(
            "It waits because its account is suspended.", (f"The operator undoes that: dyff account reactivate {quote(entity.account)}",)
        )
    if entity.status == statuses.SCHEDULABLE:
        return Words("Its quota is reserved; it starts next.", (f"dyff wait {quote(kind)} {quote(entity.id)}",))
    return Words("It was created, and the server has not decided about it yet.", (f"dyff wait {quote(kind)} {quote(entity.id)}",))


def _about(needs: Sequence[Any], *, failed: bool) -> tuple[str, ...]:
    """The commands that say why what is needed has not succeeded."""
    found = [
        each
        for each in needs
        if each.required and each.visible and each.status not in statuses.SUCCESS and (statuses.is_terminal(each.status) or not failed)
    ]
    return tuple(f"dyff why {quote(each.kind.lower())} {quote(each.id)}" for each in found) or ("Ask who owns what it needs.",)
