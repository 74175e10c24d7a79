"""What is wrong with a spec is said with the path to the field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dyff.entities import registry, specs
from dyff.entities.answers import LogEntry
from dyff.entities.kinds import method
from tests.entities import bodies

EVALUATION: dict[str, Any] = {
    "id": "0" * 32, "account": "a", "dataset": "1" * 32, "inferenceSessionReference": "2" * 32, "client": {},
    "interface": {"endpoint": "x", "outputSchema": {"arrowSchema": ""}, "inputPipeline": [{"kind": "Drop", "configuration": "{}"}]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "want", "words"),
    [
        ("dataset", ..., ("dataset",), "is missing"),
        ("interface.endpoint", ..., ("interface", "endpoint"), "is missing"),
        ("dataset", 1, ("dataset",), "Expected `str`, got `int`"),
        ("interface.inputPipeline.0.kind", 1, ("interface", "inputPipeline", 0, "kind"), "Expected `str`, got `int`"),
        ("interface.inputPipeline.0", {}, ("interface", "inputPipeline", 0, "kind"), "is missing"),
        ("inferenceSessionReference", ..., (), "exactly one of inferenceSession and inferenceSessionReference is needed"),
    ],
)
def test_the_field_that_is_wrong_is_named(path, value, want, words):
    """Below where the spec is; a rule about several fields is about what they are in."""
    assert specs.evaluation({"spec": EVALUATION}).dataset == "1" * 32
    with pytest.raises(msgspec.ValidationError) as caught:
        specs.evaluation({"spec": bodies.changed(EVALUATION, path, value)})
    assert specs.wrong(caught.value, ("spec",)) == (("spec", *want), words)


def test_a_key_is_shown_as_any():
    """The library does not say which one; what is wrong is said all the same."""
    body = bodies.changed(bodies.METHOD_FULL, "scores.2.dimensions.x.title", 1)
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(body, method.MethodCreateRequest)
    assert specs.wrong(caught.value, ()) == (("scores", 2, "dimensions", "...", "title"), "Expected `str`, got `int`")


def test_a_spec_that_is_not_there_lacks_its_first_field():
    """An object without `spec` is no surprise."""
    with pytest.raises(msgspec.ValidationError) as caught:
        specs.read({"kind": "Model"}, specs.Model)
    assert specs.wrong(caught.value, ("spec",)) == (("spec", "id"), "is missing")
    assert registry.RESOURCE_BY_KIND["Model"].spec is specs.Model


def test_equal_lines_of_a_log_count_as_one():
    """Who follows a log counts the lines that it has seen, whose labels are an object."""
    one, other = (LogEntry(timestamp="t", message=text, labels={"pod": "p"}) for text in ("a", "b"))
    assert {one, other, LogEntry(timestamp="t", message="a", labels={"pod": "p"})} == {one, other}
    assert one != LogEntry(timestamp="t", message="a", labels={"pod": "q"})
