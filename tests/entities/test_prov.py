"""Provenance as PROV-JSON: what it leads to, and what it keeps back. tests/acceptance/test_exports.py has another program read it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from dyff.entities import codecs
from dyff.entities.exports import evidence, prov
from tests.entities import gathered


def document(root, *visible, **changes):
    return prov.document(gathered.of(root, *visible, **changes), base=gathered.BASE)


def reached(found, name):
    """The entities from which one was made, by what the document says."""
    known, waiting = set(), [name]
    while waiting:
        each = waiting.pop()
        if each in known:
            continue
        known.add(each)
        makers = [made["prov:activity"] for made in found.get("wasGeneratedBy", {}).values() if made["prov:entity"] == each]
        waiting += [used["prov:entity"] for used in found.get("used", {}).values() if used["prov:activity"] in makers]
        waiting += [used["prov:usedEntity"] for used in found.get("wasDerivedFrom", {}).values() if used["prov:generatedEntity"] == each]
    return known


def test_a_score_leads_to_everything():
    """Through the runs, to the method, its code, the outputs, the dataset, the service, the model and both environments."""
    found = document(gathered.CASE, "x1", "e1", "d1")
    assert reached(found, "api:safetycases/y1/scores#mean") == {
        "api:safetycases/y1/scores#mean", "api:methods/m2", "api:modules/p1", "api:measurements/x1", "api:safetycases/y1#environment",
        "api:methods/m1", "api:evaluations/e1", "api:measurements/x1#environment", "api:datasets/d1", "api:inferenceservices/s1",
        "api:models/w1",
    }  # fmt: skip


def test_digests_are_those_of_manifests_and_of_fields():
    """A stored tree has that of its manifest, as the run recorded it; what is only fields has one that a reader can compute."""
    found = document(gathered.CASE, "x1", "e1", "d1")["entity"]
    for name, each in (("datasets", "d1"), ("evaluations", "e1"), ("modules", "p1"), ("measurements", "x1")):
        entity = found[f"api:{name}/{each}"]
        assert (entity["dyff:sha256"], entity["dyff:digestOf"]) == (gathered.SHA[each], evidence.MANIFEST)
        assert entity["dyff:manifest"]["$"] == f"https://dyff.test/v0/{name}/{each}/manifest"
    method = found["api:methods/m1"]
    plain = json.dumps(gathered.METHOD, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert (method["dyff:sha256"], method["dyff:digestOf"]) == (hashlib.sha256(plain.encode()).hexdigest(), evidence.FIELDS)
    assert found["api:datasets/d1/files/part%200.parquet"]["dyff:sha256"] == "a" * 64


def test_runs_have_what_they_recorded():
    """Arguments, seed, times, machine and packages, which the run states about itself; the roles say which input is which."""
    found = document(gathered.MEASUREMENT, "e1")
    run = found["activity"]["api:measurements/x1#run"]
    assert (run["prov:startTime"], run["dyff:seed"], json.loads(run["dyff:arguments"])) == (gathered.RUN["started"], 7, {"shortest": "1"})
    assert (run["dyff:machine_processors"], "unknown" in str(run), "does not verify" in run["dyff:statedBy"]) == (2, False, True)
    environment = found["entity"]["api:measurements/x1#environment"]
    assert (environment["dyff:sha256"], environment["dyff:packages"]) == ("e" * 64, ["pyarrow==26.0"])
    roles = {each["prov:entity"]: each["prov:role"] for each in found["used"].values()}
    assert roles["api:evaluations/e1"] == "input outputs"
    assert (roles["api:methods/m1"], roles["api:modules/p1"], roles["api:datasets/d1"]) == ("method", "module", "items")
    score = found["entity"]["api:measurements/x1/scores#mean"]
    assert (score["prov:value"], json.loads(score["dyff:metadata"])) == (4.0, {"estimate": gathered.INTERVAL})
    assert found["entity"]["api:measurements/x1/curves#curve"]["dyff:sha256"] == hashlib.sha256(codecs.encode({"x": [1.0]})).hexdigest()


def test_what_the_reader_may_not_see_is_an_id_and_a_digest():
    """If something visible names it; what it names itself does not appear."""
    found = document(gathered.MEASUREMENT)
    hidden = found["entity"]["api:evaluations/e1"]
    assert set(hidden) == {"prov:type", "dyff:id", "dyff:sha256", "dyff:digestOf", "dyff:manifest", "dyff:visible"}
    assert hidden["dyff:visible"] is False
    assert "api:models/w1" not in found["entity"]
    assert set(found["entity"]["api:inferenceservices/s1"]) == {"prov:type", "dyff:id", "dyff:visible"}


def test_variables_of_programs_are_kept_back():
    """They are no place for a secret, and yet have some."""
    text = json.dumps(document(gathered.CASE, "x1", "e1", "d1"))
    assert ("hidden" in text, "google/gemma" in text) == (False, True)


def test_an_evaluation_has_a_provenance_of_its_own():
    """Its outputs come from the dataset and the system."""
    found = document(gathered.EVALUATION, "d1")
    assert reached(found, "api:evaluations/e1") >= {"api:datasets/d1", "api:inferenceservices/s1", "api:models/w1"}
    assert found["activity"]["api:evaluations/e1#run"]["dyff:replications"] == 2


def test_what_was_left_out_is_said():
    """A document that is not whole says so, and values that are too long are digests."""
    root = {**gathered.MEASUREMENT, "arguments": [{"keyword": "x", "value": "y" * prov.MAX_TEXT_CHARS}]}
    found = document(root, is_all=False)
    assert "64 entities" in found["entity"]["api:measurements/x1"]["dyff:incomplete"]
    assert found["activity"]["api:measurements/x1#run"]["dyff:arguments"].startswith("sha256:")
    packages = {f"p{n}": "x" * 100 for n in range(2000)}
    run = {**gathered.RUN, "environment": {"packages": packages}}
    many = document({**gathered.MEASUREMENT, "provenance": {**gathered.MEASUREMENT["provenance"], "run": run}})
    environment = many["entity"]["api:measurements/x1#environment"]
    assert (environment["dyff:packageCount"], environment["dyff:packages"][:7]) == (2000, "sha256:")


def test_an_analysis_that_has_not_run_has_only_what_it_names():
    """No run, no scores."""
    found = document({**gathered.MEASUREMENT, "provenance": None, "scores": [], "status": "Created"})
    assert ("activity" in found, "api:methods/m1" in found["entity"]) == (False, True)


def test_what_was_read_but_is_not_visible_is_named_with_digests_only():
    """A case names all that its page names: of a hidden run the ID and the digest, of a service that it used the digest of its fields."""
    whole = gathered.of(gathered.CASE, "x1", "e1", "d1")
    found = document(gathered.CASE, "x1", "e1", "d1", readable=frozenset({"x1"}))["entity"]
    assert set(found["api:evaluations/e1"]) == {"prov:type", "dyff:id", "dyff:sha256", "dyff:digestOf", "dyff:manifest", "dyff:visible"}
    service = found["api:inferenceservices/s1"]
    assert set(service) == {"prov:type", "dyff:id", "dyff:sha256", "dyff:digestOf", "dyff:visible"}
    assert service["dyff:sha256"] == evidence.fields_digest(gathered.SERVICE)
    assert {each for each in found if each.startswith("api:m")} >= {"api:models/w1", "api:methods/m1", "api:modules/p1"}
    hidden = evidence.Gathered(whole.root, whole.named, whole.entities)
    assert (hidden.of_kind("Evaluation"), [each["id"] for each in hidden.read("Evaluation")]) == ([], ["e1"])
    assert (hidden.visible("e1"), hidden.visible("y1"), whole.visible("e1")) == (None, whole.root, gathered.EVALUATION)


RELEASES: dict[str, tuple[dict[str, Any], str | None]] = {
    "none is recorded": ({}, None),
    "only its version is known": ({"platform": {"name": "dyff-platform", "version": "0.2", "commit": None}}, "dyff-platform 0.2"),
    "with its commit": ({"platform": {"name": "dyff-platform", "version": "0.2", "commit": "abc"}}, "dyff-platform 0.2 (abc)"),
    "it was not installed": ({"platform": {"name": "dyff-platform", "version": None}}, None),
}


@pytest.mark.parametrize("name", RELEASES)
def test_a_run_has_the_release_that_ran_it(name):
    """The case's name is the rule; it is that of the run in the document, too."""
    recorded, want = RELEASES[name]
    assert prov.release(recorded) == want
    root = {**gathered.MEASUREMENT, "provenance": {**gathered.MEASUREMENT["provenance"], **recorded}}
    assert document(root)["activity"]["api:measurements/x1#run"].get("dyff:release") == want


def test_the_run_of_an_evaluation_has_its_release():
    """As the manifest of its outputs has it; nothing is said if an older release stored them."""
    platform = {"name": "dyff-platform", "version": "0.2", "commit": "abc"}
    runs = [document(gathered.CASE, "x1", "e1", platforms=each)["activity"]["api:evaluations/e1#run"] for each in ({"e1": platform}, {})]
    assert [each.get("dyff:release") for each in runs] == ["dyff-platform 0.2 (abc)", None]
