"""What rows of the registry say of an entity: what its runs read, its resource, its queries and files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from dyff.entities import kind, registry
from dyff.kernel import errors
from tests.entities import bodies
from tests.narrowing import sure

NOW = datetime(2026, 11, 30, tzinfo=UTC)
ONE, TWO, THREE, FOUR = (digit * 32 for digit in "1234")


def service(**more):
    """As an entity embeds it."""
    mounts = [{"kind": "Data", "data": {"source": {"kind": "Dataset", "id": THREE}}}, {"kind": "Scratch"}]
    return {"id": ONE, "model": {"id": TWO}, "runner": {"volumeMounts": mounts}, **more}


USED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "a dataset": ({"kind": "Dataset", "name": ONE}, set()),
    "a service": ({"kind": "InferenceService", **service(id=FOUR)}, {TWO, THREE}),
    "a session": ({"kind": "InferenceSession", "inferenceService": service()}, {ONE, TWO, THREE}),
    "an evaluation": (
        {"kind": "Evaluation", "dataset": FOUR, "inferenceSession": {"inferenceService": service()}},
        {ONE, TWO, THREE, FOUR},
    ),
    "an evaluation of a running session": (
        {"kind": "Evaluation", "dataset": FOUR, "inferenceSession": {"inferenceService": {"id": ONE}}, "inferenceSessionReference": TWO},
        {ONE, TWO, FOUR},
    ),
    "a measurement": (
        {"kind": "Measurement", "method": {"id": ONE, "modules": [TWO]}, "inputs": [{"keyword": "x", "entity": THREE}]},
        {ONE, TWO, THREE},
    ),
    "a precondition": ({"kind": "Model", "metadata": {"preconditions": [{"id": ONE}]}}, {ONE}),
    "an unknown kind": ({"kind": "Later", "x": [{"y": ONE}, TWO, 3], "z": "no ID", "w": {"v": [[THREE]]}}, {ONE, TWO, THREE}),
    "no kind": ({"x": ONE}, {ONE}),
    "one that does not fit its kind": ({"kind": "Evaluation", "dataset": ONE, "inferenceSession": {"inferenceService": TWO}}, {ONE, TWO}),
}


@pytest.mark.parametrize(("entity", "want"), USED.values(), ids=USED)
def test_whatever_a_run_may_read_is_kept_for_it(entity, want):
    """The data of a deleted entity waits for these. What is not understood counts with every ID in it: too much is safe."""
    assert registry.used(entity) == want


@pytest.mark.parametrize(
    ("name", "want"),
    [("Evaluation", "Evaluation"), ("Measurement", "Analysis"), ("SafetyCase", "Analysis"), ("Dataset", None), ("Later", None)],
)
def test_which_custom_resource_the_orchestrator_creates(name, want):
    """None for kinds that run nothing, and for those that this release does not know."""
    assert registry.resource_kind(name) == want
    if want is None:
        with pytest.raises(KeyError):
            registry.resource_for({"kind": name, "id": ONE, "account": "a"})


def test_every_kind_has_the_common_queries_and_its_own():
    """By one table for the API, the stores and the client."""
    found = registry.BY_KIND["Model"].queries
    assert found == {**kind.COMMON_QUERY, "name": ("name",)}


@pytest.mark.parametrize(
    ("name", "body", "want"),
    [
        ("Dataset", bodies.DATASET, [("part-0.parquet", bodies.md5(bodies.ROWS), "parquet", None)]),
        ("Model", bodies.MODEL_UPLOAD, [("config.json", bodies.md5(b"{}"), None, 2)]),
        ("Model", bodies.MODEL_HUB, []),
        ("Model", bodies.MODEL_MOCK, []),
    ],
)
def test_which_files_the_owner_of_an_entity_uploads(name, body, want):
    """Those that it declares, if it is uploaded at all."""
    row = registry.BY_KIND[name]
    request = msgspec.json.decode(json.dumps(body), type=sure(row.creation).request)
    entity = row.create(request, {}, ONE, NOW)
    assert sure(row.upload).files(entity) == [kind.DeclaredFile(*each) for each in want]
    assert sure(row.creation).further(request, {}) == []
    assert sure(row.creation).wholes(request, {}) == []


DATASET, SERVICE, MODEL, SESSION = (f"0000000000004000800000000000000{n}" for n in (3, 2, 1, 4))
RUNS_IMAGE: dict[str, Any] = {"kind": "vllm", "resources": {}, "imageRef": {"kind": "OCIArtifact", "id": ONE}}
REFERENCES: dict[str, tuple[str, dict[str, Any], list[tuple[str, str, str]]]] = {
    "a dataset": ("Dataset", bodies.DATASET_FULL, []),
    "a model": ("Model", bodies.MODEL_HUB, []),
    "a service of its own": ("InferenceService", bodies.SERVICE, []),
    "a service with a model and a mount of it": (
        "InferenceService", bodies.SERVICE_FULL,
        [("Model", MODEL, "model"), ("Model", MODEL, "runner.volumeMounts.0.data.source")],
    ),
    "a service whose image is an entity": (
        "InferenceService", {**bodies.SERVICE, "runner": RUNS_IMAGE}, [("OCIArtifact", ONE, "runner.imageRef")],
    ),
    "a session": ("InferenceSession", bodies.SESSION, [("InferenceService", SERVICE, "inferenceService")]),
    "an evaluation with a session of its own": (
        "Evaluation", bodies.EVALUATION,
        [("Dataset", DATASET, "dataset"), ("InferenceService", SERVICE, "inferenceSession.inferenceService")],
    ),
    "an evaluation of a running session": (
        "Evaluation", bodies.EVALUATION_ON_SESSION,
        [("Dataset", DATASET, "dataset"), ("InferenceSession", SESSION, "inferenceSessionReference")],
    ),
    "a function": ("Method", bodies.METHOD, [("Module", bodies.MODULE_ID, "modules.0")]),
    "a notebook": (
        "Method", bodies.METHOD_NOTEBOOK,
        [("Module", bodies.MODULE_ID, "modules.0"), ("Module", bodies.MODULE_ID, "implementation.jupyterNotebook.notebookModule")],
    ),
    "a rubric": ("Method", bodies.METHOD_RUBRIC, []),
    "a document about a service": (
        "SafetyCase", bodies.SAFETY_CASE,
        [("Method", bodies.METHOD_NOTEBOOK_ID, "method"), ("InferenceService", SERVICE, "scope.inferenceService")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "body", "want"), REFERENCES.values(), ids=REFERENCES)
def test_what_a_request_refers_to(name, body, want):
    """Each of these must exist and be usable by the caller; the error says where in the body it is."""
    creation = sure(registry.BY_KIND[name].creation)
    found = creation.references(msgspec.json.decode(json.dumps(body), type=creation.request))
    assert [(each.kind, each.id, ".".join(map(str, each.loc))) for each in found] == [(kind, id_, f"body.{at}") for kind, id_, at in want]


def test_what_no_request_creates_cannot_be_created():
    """Reports come from older releases."""
    with pytest.raises(TypeError, match="a Report is not created by a request"):
        registry.BY_KIND["Report"].create(None, {}, ONE, NOW)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("gadget", "", "dyff/entities/kinds/gadget.py must have a row, KIND = kind.Kind"),
        ("gadget", "KIND = 'Gadget'", "dyff/entities/kinds/gadget.py must have a row, KIND = kind.Kind"),
        ("gadget", "from dyff.entities.kinds.dataset import KIND", "gadget.py has the kind Dataset; it must be called dataset.py"),
    ],
)
def test_a_file_of_a_kind_must_have_its_row(name, code, words, tmp_path, monkeypatch):
    """The error names the file that is wrong, and what it needs."""
    folder = tmp_path / f"kinds_of_{tmp_path.name}"  # Python remembers what it has imported by name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(errors.Incomplete) as caught:
        registry.load([str(folder)], folder.name)
    assert words in str(caught.value)
