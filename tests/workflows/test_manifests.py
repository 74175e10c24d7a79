"""The manifests that steps read: the specs of custom resources, as the operator reads them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dyff.entities import specs
from dyff.kernel import errors
from dyff.workflows import manifests
from tests.planning import world

EVALUATION = world.an_evaluation()["spec"]
MODEL = world.a_model()["spec"]


def read(directory, reader, value):
    """What `reader` makes of a manifest file with this value."""
    file = directory / "manifest.json"
    file.write_bytes(msgspec.json.encode(value))
    return reader(["--manifest", str(file)], "a-step")


def with_news(value: Any) -> Any:
    """The same with a field that no release knows yet in every object but the map `requests`, whose keys are free."""
    if isinstance(value, list):
        return [with_news(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {**{key: each if key == "requests" else with_news(each) for key, each in value.items()}, "addedLater": {"x": 1}}


@pytest.mark.parametrize("change", [lambda value: value, with_news], ids=["as it is", "with unknown fields"])
def test_steps_read_a_spec_as_the_operator_does(tmp_path, change):
    """A step sees what the operator sees of the same spec, and what a later release adds at any level is ignored."""
    found = read(tmp_path, manifests.evaluation, change({"spec": EVALUATION, "session": {"url": "http://127.0.0.1:9"}}))
    assert (found.spec, found.session) == (msgspec.convert(EVALUATION, specs.Evaluation), manifests.Session("http://127.0.0.1:9"))
    assert read(tmp_path, manifests.model, change({"spec": MODEL})).spec == msgspec.convert(MODEL, specs.Model)


@pytest.mark.parametrize("wrong", [{"spec": {}}, {"spec": {**EVALUATION, "dataset": 1}}, []], ids=repr)
def test_a_wrong_manifest_is_refused(tmp_path, wrong):
    """A manifest that is not one is a mistake in how the step was started, not a defect of the step."""
    with pytest.raises(errors.Misconfigured, match="is wrong"):
        read(tmp_path, manifests.evaluation, wrong)
