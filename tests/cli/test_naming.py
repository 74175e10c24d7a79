"""The arguments [KIND] ID: names of kinds, abbreviated IDs, and IDs without a kind."""

from __future__ import annotations

import json

import httpx
import pytest

from dyff.cli import kinds, naming, reporting
from dyff.entities import registry
from dyff.sdk import Client

ID, OTHER = "ab12" + "0" * 28, "ab13" + "0" * 28
KNOWN = {
    "evaluation": "Evaluation", "EVALUATIONS": "Evaluation", "evals": "Evaluation", "evaluations.dyff.io": "Evaluation",
    "inference-services": "InferenceService", "InferenceSession": "InferenceSession", "session": "InferenceSession",
    "safety_case": "SafetyCase", "usecases": "UseCase", "mdl": "Model", "families": "Family",
}  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), KNOWN.items())
def test_a_kind_has_many_names(name, kind):
    """Singular, plural, with a hyphen, and as in Kubernetes."""
    assert kinds.named(name).name == kind


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("evalation", "did you mean 'evaluation'?"),
        ("analysis", "'analysis' is measurement or safetycase"),
        ("x" * 5000, "known are datasets"),
    ],
)
def test_a_name_of_no_kind(name, words):
    """With what was probably meant; a resource of Kubernetes that several kinds share is none of them."""
    with pytest.raises(kinds.Unknown, match=r".{1,400}") as caught:
        kinds.named(name)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 500


def test_no_kind_could_be_an_id():
    """Otherwise a first word could be either."""
    assert [row.name for row in registry.ROWS for name in (row.plural, row.name.lower()) if naming._is_id(name)] == []


@pytest.mark.parametrize(
    ("words", "kind", "ids"),
    [(["model", ID], "Model", (ID,)), ([f"models/{ID}"], "Model", (ID,)), ([ID], None, (ID,)), (["AB12"], None, ("ab12",)),
     (["model", ID, OTHER, ID], "Model", (ID, OTHER)), ([ID, OTHER], None, (ID, OTHER))],
)  # fmt: skip
def test_what_words_mean(words, kind, ids):
    """The kind can be left out; an ID that is there twice counts once."""
    found = naming.parsed(words, naming.ANY, many=True)
    assert (found.row and found.row.name, found.ids) == (kind, ids)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["model"], "give the ID of the model, too"), (["abc"], "too short"), (["model", "abc"], "too short"),
     (["model", ""], "the ID is empty"),
     ([ID, OTHER], "one ID is expected, not 2"), (["model", "../x"], "is no ID"), (["modell", ID], "did you mean 'model'?"),
     (["model", ID + "0"], "is no ID"), (["model", "\x1b" * 4000], "is no ID")],
)  # fmt: skip
def test_words_that_mean_nothing(words, message):
    """Each says what is expected, briefly."""
    with pytest.raises(ValueError) as caught:
        naming.parsed(words, naming.ANY)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_too_many_ids():
    """For one command."""
    with pytest.raises(ValueError, match="at most 100 IDs"):
        naming.parsed([f"{n:032x}" for n in range(101)], naming.ANY, many=True)


def serving(entities, forbidden=()):
    """A client of a server that has these entities, by plural, and the list of its requests."""
    asked = []

    def answer(request):
        asked.append(request)
        _, plural, *rest = request.url.path.strip("/").split("/")
        if plural in forbidden:
            return httpx.Response(403, json={"detail": "no grant"})
        have = sorted(entities.get(plural, []))
        if rest:
            return httpx.Response(200, json=body(rest[0])) if rest[0] in have else httpx.Response(404, json={"detail": "not there"})
        begin = json.loads(request.url.params["after"])[1]
        limit = int(request.url.params["limit"])
        return httpx.Response(200, json=[body(each) for each in have if each > begin][:limit])

    return Client(api_token="a.b.c", http=httpx.MockTransport(answer), retries=0), asked


def body(entity_id):
    """Enough of any entity."""
    needed = {
        "name": "n",
        "interface": {"endpoint": "x", "outputSchema": {"arrowSchema": ""}},
        "dataset": "d",
        "artifacts": [],
        "schema": {"arrowSchema": ""},
    }
    service = {"id": ID, "account": "me", "name": "mock", "interface": needed["interface"]}
    return {
        "id": entity_id, "account": "me", "kind": "X", "status": "Ready", "creationTime": "2026-01-01T00:00:00Z", **needed,
        "inferenceSession": {"inferenceService": service},
    }  # fmt: skip


def found(words, entities, **given):
    client, asked = serving(entities, **given)
    with client:
        return naming.parsed(words, naming.ANY).target(client), asked


def test_a_whole_id_with_its_kind_asks_nobody():
    """The command itself finds out whether it exists."""
    target, asked = found(["model", ID], {})
    assert (target.row.name, target.id, asked) == ("Model", ID, [])


def test_an_id_without_a_kind_is_looked_for_in_each():
    """The likely kinds first; one that the token may not read does not end the search."""
    target, asked = found([ID], {"datasets": [ID]}, forbidden=("safetycases",))
    assert (target.row.name, target.id) == ("Dataset", ID)
    assert {each.url.path.split("/")[2] for each in asked[:3]} == {"evaluations", "measurements", "safetycases"}


@pytest.mark.parametrize("words", [["datasets", "ab12"], ["ab12"]])
def test_the_beginning_of_an_id_is_enough(words):
    """Two entities of each kind tell whether it is the only one."""
    target, asked = found(words, {"datasets": [ID, OTHER]})
    assert (target.row.name, target.id) == ("Dataset", ID)
    assert {each.url.params["limit"] for each in asked} == {"2"}
    assert len(asked) <= len(registry.ROWS)


@pytest.mark.parametrize(
    ("words", "entities", "code", "message"),
    [
        (["datasets", "ab12"], {"datasets": [ID, ID[:-1] + "1"]}, reporting.WRONG, "of several IDs"),
        (["ab12"], {"datasets": [ID], "evaluations": [ID[:-1] + "1"]}, reporting.WRONG, "of several IDs"),
        (["datasets", "ab11"], {"datasets": [ID]}, reporting.MISSING, "there is no dataset whose ID begins with ab11"),
        (["ab12"], {}, reporting.MISSING, "there is no entity whose ID begins with ab12"),
        ([ID], {}, reporting.MISSING, f"there is no entity with the ID {ID}"),
    ],
)
def test_what_is_not_one_entity_is_refused(words, entities, code, message):
    """Ambiguous, or not there."""
    with pytest.raises(reporting.Ended) as caught:
        found(words, entities)
    assert (caught.value.exit_code, message in caught.value.message) == (code, True)


def test_what_cannot_be_undone_needs_whole_ids():
    """A digit too few must not delete something else."""
    client, asked = serving({"datasets": [ID]})
    with client, pytest.raises(reporting.Ended, match="needs the whole ID"):
        naming.parsed(["datasets", "ab12"], naming.ANY).targets(client, whole=True)
    assert asked == []
