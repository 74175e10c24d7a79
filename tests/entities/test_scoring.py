"""What a method may declare of its scores and curves."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import msgspec
import pytest

from dyff.entities import score_formats, scoring

SCORE: dict[str, Any] = {"name": "a", "title": "A", "summary": "a"}
DIMENSIONS = {"x": {"name": "x", "title": "X", "summary": "x"}}

FORMATS = {
    "{quantity}": None,
    "{quantity:.2f}": None,
    "{quantity:+10.3e} {unit}": None,
    "{{{quantity:.0%}}}": None,
    "about {quantity:,.1f}": None,
    "no field": "does not mention quantity",
    "{unit}": "does not mention quantity",
    "{{quantity}}": "does not mention quantity",
    "{quantity:d}": "cannot have",
    "{quantity:999999999.1f}": "cannot have",
    "{quantity:.999999999f}": "cannot have",
    "{quantity:{unit}}": "cannot have",
    "{quantity:.2n}": None,
    "{quantity:_.1%}": None,
    "{quantity:,n}": "cannot have",
    "{quantity:_.2n}": "cannot have",
    "{quantity!r}": "cannot have",
    "{quantity.real}": "names 'quantity' and 'unit' only",
    "{quantity[0]}": "names 'quantity' and 'unit' only",
    "{quantity} {unit.__class__.__mro__}": "names 'quantity' and 'unit' only",
    "{quantity} {unit:>99999999999}": "cannot have",
    "{}": "names 'quantity' and 'unit' only",
    "{0}": "names 'quantity' and 'unit' only",
    "{quantity": "not a format string",
    "}": "not a format string",
}


@pytest.mark.parametrize("text", FORMATS)
def test_a_format_writes_quantity_and_unit_and_nothing_else(text):
    """The server applies the formats of others: attributes, widths of gigabytes and other names are refused."""
    expected, found = FORMATS[text], score_formats.problem(text)
    assert found is None if expected is None else expected in (found or "")


def test_a_quantity_is_written_in_its_format():
    """As Python's own format strings do it; `unit` may be absent."""
    assert score_formats.written("{quantity:.2f} {unit}", 3.14159, "kg") == "3.14 kg"
    assert score_formats.written("{quantity:.0%}", 0.5, None) == "50%"


ALONE: dict[str, tuple[dict[str, Any], str | None]] = {
    "a score": (SCORE, None),
    "a curve": ({**SCORE, "dimensions": DIMENSIONS}, None),
    "both": ({**SCORE, "dimensions": DIMENSIONS, "unit": "m"}, "unit belongs to scores"),
    "a name that is no identifier": ({**SCORE, "name": "a b"}, "regex"),
    "a name with a line break": ({**SCORE, "name": "a\n"}, "regex"),
    "a long title": ({**SCORE, "title": "x" * 141}, "length <= 140"),
    "no summary": ({"name": "a", "title": "A"}, "missing required field `summary`"),
    "bounds the wrong way round": ({**SCORE, "minimum": 2, "maximum": 1}, "minimum is 2.0, which is more than maximum, 1.0"),
    "a bound of zero": ({**SCORE, "minimum": 0.0, "maximum": -1.0}, "minimum is 0.0"),
    "a format without quantity": ({**SCORE, "format": "x"}, "format does not mention quantity"),
    "bounds that are equal": ({**SCORE, "minimum": 1, "maximum": 1.0}, None),
    "a dimension without a title": ({**SCORE, "dimensions": {"x": {"name": "x", "summary": "x"}}}, "missing required field `title`"),
    "an unknown field": ({**SCORE, "colour": "red"}, "unknown field `colour`"),
}


@pytest.mark.parametrize("case", ALONE)
def test_one_score_or_curve(case):
    """A score has a quantity and a curve has dimensions; neither has what belongs to the other."""
    body, problem = ALONE[case]
    if problem is None:
        assert msgspec.json.decode(json.dumps(body), type=scoring.ScoreOrCurveSpec).is_curve == ("dimensions" in body)
        return
    with pytest.raises(msgspec.ValidationError, match=problem):
        msgspec.json.decode(json.dumps(body), type=scoring.ScoreOrCurveSpec)


def test_every_format_that_is_accepted_can_be_written():
    """And two quantities are never written in the same way, whatever fills the width."""
    fills, signs, marks, widths = ("", "<", "3>", "-=", "2^"), ("", "+", " "), ("", "z", "#", "0"), ("", "1", "12")
    groups, digits, kinds = ("", ",", "_"), ("", ".0", ".10"), ("", *"eEfFgGn%")
    accepted = 0
    for parts in itertools.product(fills, signs, marks, widths, groups, digits, kinds):
        text = f"{{quantity:{''.join(parts)}}}"
        if score_formats.problem(text) is None:
            accepted += 1
            assert score_formats.written(text, 3.14, None) != score_formats.written(text, -2.03, None)
    assert accepted == 5 * 3 * 4 * 3 * 3 * (3 * 8 + 1)


@pytest.mark.parametrize("bound", [math.inf, -math.inf, math.nan])
def test_a_bound_is_a_number(bound):
    """One that is not known is left out; code can give what JSON has no form for."""
    with pytest.raises(ValueError, match="minimum and maximum must be finite; leave out one that is not known"):
        scoring.ScoreSpec(**SCORE, maximum=bound)


SECOND = {**SCORE, "name": "b"}
CURVE = {**SCORE, "name": "c", "dimensions": DIMENSIONS}

TOGETHER: dict[str, tuple[list[dict[str, Any]], str | None]] = {
    "none": ([], None),
    "one": ([SCORE], None),
    "one, and another that says secondary": ([SCORE, {**SECOND, "priority": "secondary"}], None),
    "only curves": ([CURVE], None),
    "two that are primary by default": ([SCORE, SECOND], "these are: a, b"),
    "none that is primary": ([{**SCORE, "priority": "secondary"}], "none is"),
    "none but a curve": ([{**SCORE, "priority": "secondary"}, CURVE], "none is"),
    "a name twice": ([SCORE, {**SCORE, "priority": "secondary"}], r"scores\[1\].name: 'a' is there twice"),
    "a score and a curve with one name": ([SCORE, {**CURVE, "name": "a"}], r"scores\[1\].name"),
}


@pytest.mark.parametrize("case", TOGETHER)
def test_the_scores_of_a_method(case):
    """Exactly one score is primary, which is the default; curves do not count; names are unique."""
    body, problem = TOGETHER[case]
    several = tuple(msgspec.convert(each, scoring.ScoreOrCurveSpec) for each in body)
    if problem is None:
        scoring.check_all(several)
        return
    with pytest.raises(ValueError, match=problem):
        scoring.check_all(several)


def test_what_is_stored_has_the_published_defaults():
    """A score has valence, priority and format, also if they were not given; a curve has none of them."""
    score = msgspec.convert(SCORE, scoring.ScoreOrCurveSpec).filled()
    assert score == {**SCORE, "valence": "neutral", "priority": "primary", "format": "{quantity:.1f}"}
    curve = msgspec.convert(CURVE, scoring.ScoreOrCurveSpec).filled()
    assert curve == {
        **CURVE,
        "dimensions": {"x": {**DIMENSIONS["x"], "valence": "neutral", "priority": "primary", "format": "{quantity:.1f}"}},
    }
