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
