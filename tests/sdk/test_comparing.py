"""What `client.compare` sends: IDs, or what has one."""

from __future__ import annotations

import msgspec
import pytest

from dyff.entities.kinds import measurement
from dyff.sdk import comparing

ONE, TWO = "1" * 32, "2" * 32


def test_two_or_several():
    """IDs of two, or a list; and measurements and safety cases themselves."""
    assert comparing.parameters(ONE, TWO, "right") == {"a": ONE, "b": TWO, "score": "right"}
    assert comparing.parameters([ONE, TWO], None, None) == {"ids": f"{ONE},{TWO}", "score": None}
    entity = {"kind": "Measurement", "id": ONE, "account": "a", "status": "Complete", "name": "m", "level": "Instance", "schema": {}}
    method = {"id": TWO, "account": "a", "name": "m", "scope": "Evaluation", "implementation": {}, "output": {}}
    found = msgspec.convert({**entity, "method": method}, measurement.Measurement)
    assert comparing.parameters(found, TWO, None)["a"] == ONE


@pytest.mark.parametrize(
    ("a", "b", "error", "message"),
    [
        (ONE, None, ValueError, "b: must be given, unless a is a list"),
        ([ONE, TWO], ONE, ValueError, "b: must be left out, because a is a list"),
        ([ONE], None, ValueError, "a: must have from 2 to 8 measurements or safety cases, not 1"),
        ([ONE, 2], None, TypeError, r"a\[1\]: must be an ID, which is a string, not a number"),
        (ONE, 3, TypeError, "b: must be an ID"),
    ],
)
def test_mistakes(a, b, error, message):
    """The error names the argument."""
    with pytest.raises(error, match=message):
        comparing.parameters(a, b, None)


def test_items():
    """IDs, or what has one; the score and the two that decide are optional."""
    found = comparing.of_items([ONE, TWO], "right", (TWO, ONE), TWO, "differing")
    assert found == {
        "ids": f"{ONE},{TWO}", "score": "right", "limit": 200, "show": "differing", "higher": TWO, "between": f"{TWO},{ONE}",
    }  # fmt: skip
    plain = comparing.of_items([ONE, TWO], None, None, None, "all")
    assert (plain["between"], plain["higher"], plain["score"], plain["show"]) == (None, None, None, "all")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((ONE, None, None, None, "all"), TypeError, "measured: must be a list of what to compare"),
        (([ONE, TWO], None, None, ONE, "all"), ValueError, "higher: needs between"),
        (([ONE, TWO], None, (ONE,), None, "all"), ValueError, "between: must be two of those that are compared, not 1"),
        (([ONE, TWO], None, None, None, "ties"), ValueError, "show must be differing, unpaired or all, not 'ties'"),
    ],
)
def test_mistakes_about_items(given, error, message):
    """The error names the argument."""
    with pytest.raises(error, match=message):
        comparing.of_items(*given)
