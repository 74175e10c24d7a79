"""The words of a page: what numbers, times and codes are called. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from dyff.entities import comparisons, dossiers, uncertainties

PUBLISHED = {
    "public": "Public: everybody can see this page",
    "internal": "Preview: only those who have a token for it can see this page",
    "private": "Private: only those who have a token for it can see this page",
}

CLAIM = {
    "scope": ("Scope", "for which uses, versions and languages the claim is made"),
    "assumptions": ("Assumptions", "what must hold for the claim"),
    "limits": ("Known limits", "what the evaluators know that this case does not show"),
    "evaluators": ("Evaluators", "who made this case"),
}
"""The texts of a claim, each with its heading and what it is about."""

_UNSEEN = dict.fromkeys([*range(9), *range(11, 32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd")
"""Controls but for tabs and line breaks, and those that turn the direction of the text that follows: nobody sees them, or what they do."""

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,4})?")

VALENCE = {"positive": "more is better", "negative": "less is better"}


def seen(value: Any) -> Any:
    """A text with a mark in place of each character that is not seen; other values, and what is HTML already, as they are."""
    return value.translate(_UNSEEN) if type(value) is str else value


def moment(text: str | None) -> str:
    """A time in UTC, to the second; as it is if it is no ISO 8601, and a dash if there is none."""
    if not text:
        return "–"
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    return found.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if found.tzinfo is not None else text


def kind(name: str) -> str:
    """The name of a kind in words: `InferenceService` is an inference service."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def number(value: float) -> str:
    """A number with at most four significant digits, and no exponent if it is of a usual size."""
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.4g}"


def exact(score: dossiers.ShownScore) -> str | None:
    """The quantity of a score, if its method's format writes another number, or rounds it out of its own interval; None otherwise."""
    found = _NUMBER.search(score.quantityString.replace(",", ""))
    if found is None:
        return repr(score.quantity)
    shown, unit = Decimal(found[0]), Decimal("0.01" if "%" in score.quantityString else "1")
    if abs(shown * unit - Decimal(score.quantity)) > _half_of_the_last_digit(shown) * unit:
        return repr(score.quantity)
    low, high = score.uncertainty.low, score.uncertainty.high
    return number(score.quantity) if low is not None and high is not None and not low <= float(shown * unit) <= high else None


def _half_of_the_last_digit(shown: Decimal) -> Decimal:
    exponent = shown.as_tuple().exponent
    return Decimal("0.500001").scaleb(exponent) if isinstance(exponent, int) else Decimal(0)


def interval(found: uncertainties.Uncertainty) -> str | None:
    """An interval with its level, such as `95 % interval 0.12 to 0.31`; None if there is none."""
    if found.low is None or found.high is None:
        return None
    level = f"{number(100 * found.level)} % interval" if found.level is not None else "Interval (its level is not stated)"
    return f"{level} {' to '.join(ends(found.low, found.high))}"


def ends(low: float, high: float) -> tuple[str, str]:
    """Both ends of an interval, with the same number of decimal places where neither is very large or small."""
    texts = number(low), number(high)
    if any("e" in each or "\u202f" in each for each in texts):
        return texts
    places = max(len(each.partition(".")[2]) for each in texts)
    return f"{low:.{places}f}", f"{high:.{places}f}"


def signed(value: float) -> str:
    """A number with its sign, as of a difference."""
    return f"{_sign(value)}{number(abs(value))}"


def difference(pair: comparisons.ComparedPair) -> str:
    """A difference with its interval, such as `+0.12, 95 % interval +0.05 to +0.19`."""
    return f"{signed(pair.difference)}, {reach(pair)}"


def reach(pair: comparisons.ComparedPair) -> str:
    """The interval of a difference."""
    low, high = pair.estimate.low, pair.estimate.high
    if low is None or high is None:
        return "no interval"
    first, last = ends(abs(low), abs(high))
    return f"{number(100 * pair.estimate.level)} % interval {_sign(low)}{first} to {_sign(high)}{last}"


def result(pair: comparisons.ComparedPair) -> str:
    """What is shown of the second system of a pair, next to the first: `better`, `worse`, `higher`, `lower`, or no difference."""
    if pair.higher is None:
        return comparisons.NONE_SHOWN
    if pair.better is not None:
        return "better" if pair.better == pair.b else "worse"
    return "higher" if pair.higher == pair.b else "lower"


def probability(p: float) -> str:
    """A p-value with two significant digits; a very small one by its bound."""
    return "below 0.0001" if p < 0.0001 else f"{p:.2g}"


def counts(found: uncertainties.Uncertainty) -> list[str]:
    """The counts of a score as short sentences without a full stop."""
    parts = []
    if found.n is not None:
        parts.append(f"{_many(found.n, 'item')} with a verdict")
    if found.clusters is not None and found.clusters != found.n:  # otherwise each item is a cluster of its own
        parts.append(f"in {_many(found.clusters, 'cluster')}")
    if found.errors is not None:
        parts.append(f"{_many(found.errors, 'error')}")
    if found.unscored is not None:
        parts.append(f"{number(found.unscored)} not scored")
    return parts


def share(runs: dossiers.Runs) -> str:
    """How many of the runs the case rests on, such as `1 of 7`."""
    return f"{runs.shown} of {'at least ' if runs.atLeast else ''}{number(runs.total)}"


def repeated(found: dossiers.Reproduction) -> str:
    """What a reproduction has shown."""
    if not found.scores:
        return f"no scores to compare: {found.status}"
    return f"{found.equal} of {_many(found.scores, 'score')} exactly equal"


def _sign(value: float) -> str:
    return "+" if value > 0 else "−" if value < 0 else ""


def _many(count: int, of: str) -> str:
    return f"{number(count)} {of}{'' if count == 1 else 's'}"
