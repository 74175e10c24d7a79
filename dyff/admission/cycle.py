"""One admission cycle over a snapshot.

    1. Snapshot    waiting entities, their dependencies and the quota in use (taken by the caller)
    2. Nominate    the entities whose dependencies have succeeded; the others get a message that names what they are waiting for
    3. Order       the nominated entities by age
    4. Admit       each entity that fits into the rest of its account's quota; its cost counts as used from then on
    5. Hold back   an entity that does not fit waits, and so do the entities behind it that need the same resource

Step 5 makes admission fair: a large entity is never starved by small ones that arrive later.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from dyff.admission import order
from dyff.admission.outcome import Decision, Verdict, decision, suspension
from dyff.admission.snapshot import Amounts, Dependency, Snapshot, Waiting
from dyff.entities import costs, statuses

_NAMED = 5
"""Maximum number of dependencies that a message names."""


def decide(snapshot: Snapshot) -> list[Decision]:
    """One decision for each waiting entity. Nominated entities come last, in admission order."""
    decided, nominated = [], []
    for entity in snapshot.waiting:
        answer = _answer_without_quota(entity, snapshot)
        if answer is None:
            nominated.append(entity)
        else:
            decided.append(answer)
    accounts: dict[str, _Account] = {}
    for entity in order.in_turn(nominated):
        if entity.account not in accounts:
            accounts[entity.account] = _Account(snapshot.reserved.get(entity.account, {}), snapshot.limits)
        decided.append(accounts[entity.account].answer(entity))
    return decided


def _answer_without_quota(entity: Waiting, snapshot: Snapshot) -> Decision | None:
    """The decision that follows from its dependencies, its size or its account's state; None if it is nominated."""
    found = [(each, snapshot.dependencies.get(each)) for each in entity.dependencies]
    failed = [f"{_named(each, known)} ({known.status or 'does not exist'})" for each, known in found if known and _has_failed(known.status)]
    if failed:
        return decision(entity, Verdict.FAILED_DEPENDENCY, f"It needs {_listed(failed)}")
    excess = _excess(entity.cost, snapshot.limits)
    if excess:
        return decision(entity, Verdict.NEVER_FITS, excess)
    missing = [_named(each, known) for each, known in found if known is None or known.status not in statuses.SUCCESS]
    if missing:
        return decision(entity, Verdict.UNSATISFIED_DEPENDENCY, f"Waiting for {_listed(missing)}")
    if entity.runs and entity.account in snapshot.suspended:
        return decision(entity, Verdict.ACCOUNT_SUSPENDED, suspension(entity.account))
    return None


class _Account:
    """The rest of one account's quota while its entities are processed in order."""

    def __init__(self, reserved: Amounts, limits: Amounts) -> None:
        self._used, self._limits = dict(reserved), limits
        self._held_back: dict[str, str] = {}

    def answer(self, entity: Waiting) -> Decision:
        for resource in entity.cost:
            if resource in self._held_back:
                return decision(entity, Verdict.QUOTA_LIMIT, self._held_back[resource])
        after = {resource: self._used.get(resource, Decimal(0)) + needed for resource, needed in entity.cost.items()}
        lacking = [resource for resource, total in after.items() if total > self._limits.get(resource, total)]
        if not lacking:
            self._used.update(after)
            return decision(entity, Verdict.ADMIT)
        self._held_back.update((resource, self._exceeded(resource, f"waiting behind {entity.id}")) for resource in lacking)
        reported = costs.SLOT if costs.SLOT in lacking else lacking[0]
        return decision(entity, Verdict.QUOTA_LIMIT, self._exceeded(reported, f"{_text(reported, entity.cost[reported])} more needed"))

    def _exceeded(self, resource: str, more: str) -> str:
        """The published message `Account quota exceeded: N/L`, with an explanation where the numbers alone are not enough."""
        used, limit = self._used.get(resource, Decimal(0)), self._limits[resource]
        sentence = f"Account quota exceeded: {_text(resource, used)}/{_text(resource, limit)}"
        return sentence if resource == costs.SLOT else f"{sentence} {resource} in use, {more}"


def _has_failed(status: str | None) -> bool:
    """Whether a dependency can never succeed: it ended without success, or it does not exist."""
    return status is None or (statuses.is_terminal(status) and status not in statuses.SUCCESS)


def _excess(cost: Mapping[str, Decimal], limits: Amounts) -> str | None:
    """Why the cost can never fit; None if it can. A limit of zero is a temporary pause, so entities only wait for it."""
    for resource, needed in cost.items():
        limit = limits.get(resource)
        if limit and needed > limit:
            texts = _text(resource, needed), _text(resource, limit)
            return f"It needs {texts[0]} {resource}, but an account may use at most {texts[1]} at once: ask for less or raise the quota"
    return None


def _named(entity_id: str, known: Dependency | None) -> str:
    return f"{known.kind} {entity_id}" if known and known.kind else entity_id


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _text(resource: str, amount: Decimal) -> str:
    """Memory in the largest binary unit that gives a whole number; other amounts unchanged."""
    if resource == "memory" and amount:
        for power, unit in ((40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")):
            if amount % 2**power == 0:
                return f"{amount // 2**power:f}{unit}"
    return f"{amount.normalize():f}"
