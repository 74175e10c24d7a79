"""Scores in the form of Every Eval Ever, checked against its own schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dyff.entities.exports import every_eval_ever, systems
from tests.entities import gathered

SCHEMA = json.loads((Path(__file__).parent / "every_eval_ever/eval.schema.json").read_text())
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)


def document(root, *visible, **changes):
    """A document, which fits the schema."""
    found = every_eval_ever.document(
        gathered.of(root, *visible, **changes), base=gathered.BASE, plural="measurements", retrieved_s=1_800_000_000
    )
    assert [f"{each.json_path}: {each.message}" for each in VALIDATOR.iter_errors(found)] == []
    return found


def changed(score: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The measurement with one score that is changed."""
    return {**gathered.MEASUREMENT, "scores": [{**score, **more}]}


def test_the_schema_is_that_of_the_version():
    """The document names the version of the schema that it is checked against."""
    assert SCHEMA["version"] == every_eval_ever.VERSION


def test_a_measurement_has_all_that_is_known():
    """Model, sampling, dataset, method and uncertainty are those of the run."""
    found = document(gathered.MEASUREMENT, "e1", "d1")
    assert found["evaluation_id"] == "lengths/google/gemma/1800000000"
    assert (found["retrieved_timestamp"], found["evaluation_timestamp"]) == ("1800000000", "2026-01-01T00:00:00Z")
    model = found["model_info"]
    assert (model["name"], model["id"], model["inference_engine"]) == ("gemma", "google/gemma", {"name": "vLLM"})
    details = model["additional_details"]
    assert (details["deployment_type"], details["model_availability"]) == ("self_deployed", "unknown")
    assert (details["model_revision"], details["requested_model"], details["dyff_inference_service"]) == ("abc", "gemma-3", "s1")
    (result,) = found["evaluation_results"]
    assert result["generation_config"]["generation_args"] == {"temperature": 0.5, "max_tokens": 20}
    assert result["generation_config"]["additional_details"]["replications"] == "2"
    data = result["source_data"]
    assert (data["dataset_name"], data["url"]) == ("prompts", ["https://dyff.test/v0/datasets/d1"])
    assert data["additional_details"]["manifest_sha256"] == gathered.SHA["d1"]
    metric = result["metric_config"]
    assert (metric["metric_id"], metric["lower_is_better"], metric["metric_unit"]) == ("dyff.word-length.mean", True, "letters")
    assert (metric["min_score"], "max_score" in metric, "score_type" in metric) == (0, False, False)
    assert result["score_details"]["score"] == 4.0
    assert result["score_details"]["uncertainty"] == {
        "confidence_interval": {"lower": 3.5, "upper": 4.5, "confidence_level": 0.95, "method": "t, by cluster"},
        "standard_error": {"value": 0.25, "method": "t, by cluster"},
        "num_samples": 20,
    }
    assert result["score_details"]["details"]["clusters"] == "5"
    library = found["eval_library"]
    assert (library["name"], library["version"], library["additional_details"]["environment_sha256"]) == ("dyff", "unknown", "e" * 64)


def test_what_nobody_stated_is_not_invented():
    """Relationship, evaluators, model, dataset and direction are said to be not stated."""
    score = {**gathered.SCORE, "valence": "neutral", "metadata": {}, "unit": None}
    bare = {**gathered.MEASUREMENT, "scope": {"inferenceService": "s1"}, "scores": [score], "provenance": None}
    found = document(bare)
    source = found["source_metadata"]
    assert (source["source_organization_name"], source["evaluator_relationship"]) == ("not stated", "other")
    assert source["additional_details"]["evaluator_relationship"].startswith("not stated by the evaluators")
    assert (found["model_info"]["name"], found["model_info"]["id"]) == ("s1", "unknown/s1")
    assert found["model_info"]["additional_details"]["deployment_type"] == "unknown"
    (result,) = found["evaluation_results"]
    assert result["source_data"] == {"dataset_name": "not stated", "source_type": "other"}
    assert "uncertainty" not in result["score_details"]
    assert "generation_config" not in result
    assert result["metric_config"]["additional_details"]["lower_is_better"].startswith("neither")


def test_the_statement_of_the_evaluators_counts():
    """The relationship, and who they are, are what the documentation says."""
    texts = {"relationship": "third_party", "evaluators": "An institute"}
    found = document({**gathered.MEASUREMENT, "metadata": {"documentation": texts}}, "e1")["source_metadata"]
    assert (found["evaluator_relationship"], found["source_organization_name"]) == ("third_party", "An institute")
    assert "evaluator_relationship" not in found["additional_details"]
    odd = {"relationship": "friends", "evaluators": " "}
    again = document({**gathered.MEASUREMENT, "metadata": {"documentation": odd}}, "e1")["source_metadata"]
    assert (again["evaluator_relationship"], again["source_organization_name"]) == ("other", "not stated")


WRONG: dict[str, dict[str, Any]] = {
    "text": {"low": "a", "high": "b", "n": "20", "standardError": "x"},
    "the wrong way round": {"low": 2, "high": 1},
    "only one end": {"low": 2},
    "not finite": {"low": float("-inf"), "high": float("nan"), "standardError": float("inf")},
    "negative": {"standardError": -1, "n": -1},
    "booleans": {"low": False, "high": True, "n": True},
    "draws of a permutation": {"draws": 100, "method": "permutation"},
}


@pytest.mark.parametrize("case", WRONG)
def test_an_uncertainty_that_makes_no_sense_is_left_out(case):
    """Authors write metadata, so anything can be there."""
    (result,) = document(changed(gathered.SCORE, metadata={"estimate": WRONG[case]}), "e1")["evaluation_results"]
    assert "uncertainty" not in result["score_details"]


def test_bootstrap_samples_are_counted():
    """The draws, if the method is a bootstrap; a level that is none is left out."""
    estimate = {"low": 1, "high": 5, "level": 95, "draws": 2000, "method": "BCa bootstrap"}
    (result,) = document(changed(gathered.SCORE, metadata={"estimate": estimate}), "e1")["evaluation_results"]
    assert result["score_details"]["uncertainty"] == {
        "confidence_interval": {"lower": 1, "upper": 5, "method": "BCa bootstrap"}, "num_bootstrap_samples": 2000,
    }  # fmt: skip


def test_a_document_is_about_one_system():
    """Without a system, or with several, there is none; one that the evaluations agree on need not be in the scope."""
    without = {**gathered.MEASUREMENT, "scope": {}}
    assert document(without, "e1")["model_info"]["id"] == "google/gemma"
    with pytest.raises(ValueError, match="no system that you may see"):
        document(without)
    other = {**gathered.EVALUATION, "id": "e2", "inferenceSession": {"inferenceService": {**gathered.SERVICE, "id": "s2"}}}
    both = {**without, "inputs": [{"keyword": "outputs", "entity": "e1"}, {"keyword": "outputs", "entity": "e2"}]}
    with pytest.raises(ValueError, match=r"2 systems \(s1, s2\)"):
        document(both, entities={"e1": gathered.EVALUATION, "e2": other}, named=tuple(gathered.named("e1", "e2")))


def test_sampling_is_only_what_all_requests_have():
    """Nothing is known of a pipeline that does not end in a template, and of evaluations that differ."""
    steps = [{"kind": "TransformJSON", "configuration": gathered.TEMPLATE}, {"kind": "Drop", "configuration": {"fields": ["x"]}}]
    for change in (
        {**gathered.EVALUATION, "inferenceSession": {"inferenceService": {**gathered.SERVICE, "interface": {"inputPipeline": steps}}}},
        {**gathered.EVALUATION, "inferenceSession": {"inferenceService": {**gathered.SERVICE, "interface": {}}}},
    ):
        (result,) = document(gathered.MEASUREMENT, entities={"e1": change})["evaluation_results"]
        assert "generation_args" not in result["generation_config"]


def test_long_values_are_given_as_digests():
    """A text of the method has no bound of its own in this form."""
    (result,) = document(changed(gathered.SCORE, text="x" * 10_001), "e1")["evaluation_results"]
    assert result["score_details"]["details"]["text"].startswith("sha256:")


def test_a_score_without_a_number_is_left_out():
    """The form has numbers only."""
    assert document(changed(gathered.SCORE, quantity=float("nan")), "e1")["evaluation_results"] == []


def test_the_library_is_the_release_that_ran_it():
    """Its version and its commit as the run recorded them; `unknown` if an older release ran it."""
    assert document(gathered.MEASUREMENT)["eval_library"]["version"] == "unknown"
    platform = {"name": "dyff-platform", "version": "0.2", "commit": "abc"}
    found = document({**gathered.MEASUREMENT, "provenance": {**gathered.MEASUREMENT["provenance"], "platform": platform}})["eval_library"]
    assert (found["version"], found["additional_details"]["platform_commit"]) == ("0.2", "abc")


def test_the_sampling_of_one_evaluation_is_what_all_its_requests_have():
    """As the last step of its requests gives it; nothing is known without one."""
    assert systems.sampling_of(gathered.EVALUATION) == {"model": "gemma-3", "temperature": 0.5, "max_tokens": 20}
    assert systems.sampling_of({}) == {}


def test_the_releases_that_ran_the_evaluations_are_among_the_details():
    """Each once, as far as they are recorded."""
    platform = {"name": "dyff-platform", "version": "0.2", "commit": None}
    for platforms, want in (({"e1": platform}, "dyff-platform 0.2"), ({}, None)):
        found = document(gathered.MEASUREMENT, "e1", platforms=platforms)
        assert found["eval_library"]["additional_details"].get("evaluations_release") == want


def test_a_scope_that_names_another_system_is_refused():
    """The document would say of one system what was measured of another."""
    scope = {**gathered.MEASUREMENT["scope"], "inferenceService": "decoy", "evaluation": None}
    with pytest.raises(ValueError, match="names the system decoy, and what it reads is of another one"):
        document({**gathered.MEASUREMENT, "scope": scope}, "e1")
