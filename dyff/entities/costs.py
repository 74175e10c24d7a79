"""How much of its account's quota a workflow uses while it is admitted. Pure.

    Model that is fetched               1 cpu, 1Gi, a slot
    InferenceSession                    1 cpu, 1Gi, a slot
    Evaluation                          the same for its session, plus 1 cpu, 1Gi for its steps
    either of them with GPUs            its GPUs of each type that it names, a slot
    Evaluation of a running session     a slot
    Measurement                         2 cpu, 2Gi, a slot
    SafetyCase                          1 cpu, 1Gi, a slot

These are the published costs, and the minimum. Explicit resource requests, times replicas and nodes, count instead where they are
higher; with GPUs, whose published cost has no cpu and no memory, they are added. So a quota bounds the real usage.
"""

from __future__ import annotations

from decimal import Decimal

from dyff.entities import codecs
from dyff.kernel import quantities

SLOT = "workflows.dyff.io/admitted"
"""The quota resource of which every computing workflow uses one while it is admitted."""

_ONE = {"cpu": Decimal(1), "memory": Decimal(2**30)}

Cost = dict[str, str]


def fetch(model: codecs.Json) -> Cost:
    """Cost of a Model that is fetched.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: the entity is malformed. The other functions raise them, too.
    """
    return _texts(_at_least(_ONE, _asked(model.get("resources"), 1)))


def session(entity: codecs.Json) -> Cost:
    """Cost of an InferenceSession."""
    return _texts(_of_session(entity, steps={}))


def evaluation(entity: codecs.Json) -> Cost:
    """Cost of an Evaluation."""
    if entity.get("inferenceSessionReference"):
        return _texts({})
    return _texts(_of_session(entity["inferenceSession"], steps=_ONE))


def measurement(_: codecs.Json) -> Cost:
    """Cost of a Measurement."""
    return _texts({key: 2 * amount for key, amount in _ONE.items()})


def safety_case(_: codecs.Json) -> Cost:
    """Cost of a SafetyCase."""
    return _texts(_ONE)


def _of_session(entity: codecs.Json, steps: dict[str, Decimal]) -> dict[str, Decimal]:
    """`steps`: the cost of the steps of the evaluation that the session belongs to."""
    runner = entity["inferenceService"].get("runner") or {}
    pods = (entity.get("replicas") or 1) * (runner.get("nodes") or 1)
    asked = _asked(runner.get("resources"), pods)
    # The session's accelerator overrides the runner's.
    accelerator = entity.get("accelerator") or runner.get("accelerator") or {}
    if accelerator.get("kind") != "GPU" or not accelerator.get("gpu"):
        return _sum(_at_least(_ONE, asked), steps)
    # With several types, any of them may be chosen, so each is counted.
    devices = Decimal((accelerator["gpu"].get("count") or 1) * pods)
    return _sum(asked, dict.fromkeys(accelerator["gpu"]["hardwareTypes"], devices))


def _asked(resources: codecs.Json | None, pods: int) -> dict[str, Decimal]:
    return {key: quantities.parse(text) * pods for key, text in (resources or {}).items() if key in _ONE and text}


def _at_least(least: dict[str, Decimal], asked: dict[str, Decimal]) -> dict[str, Decimal]:
    return {key: max(amount, asked.get(key, amount)) for key, amount in least.items()}


def _sum(one: dict[str, Decimal], other: dict[str, Decimal]) -> dict[str, Decimal]:
    return {key: one.get(key, Decimal(0)) + other.get(key, Decimal(0)) for key in (*one, *(each for each in other if each not in one))}


def _texts(amounts: dict[str, Decimal]) -> Cost:
    """Format the amounts as quantities, and add the slot that everything costs."""
    return {**{key: _text(amount) for key, amount in amounts.items()}, SLOT: "1"}


def _text(amount: Decimal) -> str:
    whole_gib = amount >= 2**30 and amount % 2**30 == 0
    return f"{amount // 2**30:f}Gi" if whole_gib else f"{amount.normalize():f}"
