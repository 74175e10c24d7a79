"""The published client, unmodified, uses modules, methods, measurements, safety cases, reports, families and use cases.

Three releases of it run this, the older ones on embedded adapters: see test_previous_client.
"""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from typing import Any

import pyarrow.dataset
import pytest
from dyff.client.errors import HTTPError
from dyff.schema import platform, requests
from dyff.schema.commands import EditEntityDocumentationPatch

from tests.acceptance import profiles
from tests.acceptance.conftest import eventually
from tests.acceptance.published import changed, evaluation_request, given

pytestmark = pytest.mark.acceptance

ABSENT = uuid.uuid4().hex
COLUMNS: list[tuple[str, pyarrow.DataType]] = [("_index_", pyarrow.int64()), ("words", pyarrow.float64())]
ROWS = pyarrow.schema(COLUMNS)
FUNCTION = """
import pyarrow as pa

def count(arguments, *, prompts):
    weight = float(arguments["weight"])
    print("weight", weight)
    rows = [{"_index_": row["_index_"], "words": weight * len(row["text"].split())} for row in prompts.to_table().to_pylist()]
    yield pa.RecordBatch.from_pylist(rows)
"""
CELLS = (
    "from dyff.audit.analysis import AnalysisContext\nctx = AnalysisContext()",
    "ctx.TitleCard(headline='Counted', author='me', summary_phrase='fine', summary_text='All is well')",
    "print('read by', ctx.get_argument('reader'), ctx.open_input_dataset('counts').to_table().num_rows)",
    "ctx.Score(output='mean', quantity=3.25, text='words')",
    "from dyff import stats\nstats.score('share', stats.proportion([True, False, None]), 'half', context=ctx)",  # with an interval
    "ctx.Curve(output='roc', points={'x': [0.0, 1.0], 'y': [0.25, 1.0]}, text='a curve')",
)
SCORES = [
    {"name": "mean", "title": "Mean", "summary": "s", "valence": "positive", "minimum": 0, "unit": "words",
     "format": "{quantity:.2f} {unit}"},
    {"name": "share", "title": "Share", "summary": "s", "priority": "secondary"},
    {
        "name": "roc", "title": "ROC", "summary": "s",
        "dimensions": {axis: {"name": axis, "title": axis.upper(), "summary": axis} for axis in ("x", "y")},
    },
]  # fmt: skip


@pytest.fixture(scope="module", params=profiles.PARAMS[:2])
def server(request, tmp_path_factory):
    """A server, embedded and on engines; at the end all that it did is proved."""
    with profiles.OPENED[request.param](tmp_path_factory.mktemp("dyff"), request) as subject:
        yield subject


@pytest.fixture(scope="module")
def model(client, account):
    """The model behind the service."""
    parts = {"artifact": {"kind": "Mock"}, "source": {"kind": "Mock"}, "resources": {"storage": "1Mi"}}
    created = client.models.create(given(requests.ModelCreateRequest, account=account, name="behind", **parts))
    return eventually(lambda: client.models.get(created.id), "Ready")


@pytest.fixture(scope="module")
def service(client, account, service_request, model):
    """The mock service with that model."""
    request = {**service_request(account), "model": model.id}
    created = client.inferenceservices.create(requests.InferenceServiceCreateRequest.model_validate(request))
    return eventually(lambda: client.inferenceservices.get(created.id), "Ready")


@pytest.fixture(scope="module")
def scope(client, account, dataset, service, model):
    """All that a result can be about."""
    created = client.evaluations.create(evaluation_request(account, dataset, service))
    done = eventually(lambda: client.evaluations.get(created.id), "Complete")
    return {"dataset": dataset.id, "inferenceService": service.id, "evaluation": done.id, "model": model.id}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A package with a function and a notebook."""
    made = tmp_path_factory.mktemp("module")
    (made / "words").mkdir()
    (made / "words" / "counting.py").write_text(FUNCTION)
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
        for n, source in enumerate(CELLS)
    ]
    (made / "report.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return made


@pytest.fixture(scope="module")
def module(client, account, folder):
    """That package, uploaded."""
    created = client.modules.create_package(folder, account=account, name="words")
    client.modules.upload_package(created, folder)
    return eventually(lambda: client.modules.get(created.id), "Ready")


@pytest.fixture(scope="module")
def counting(client, account, module):
    """A method that makes a table."""
    schema = {"arrowSchema": base64.b64encode(ROWS.serialize().to_pybytes()).decode()}
    created = client.methods.create(
        given(
            requests.MethodCreateRequest,
            account=account, name="count words", scope="Evaluation", modules=[module.id],
            implementation={"kind": "PythonFunction", "pythonFunction": {"fullyQualifiedName": "words.counting.count"}},
            parameters=[{"keyword": "weight"}], inputs=[{"kind": "Dataset", "keyword": "prompts"}],
            output={"kind": "Measurement", "measurement": {"name": "counts", "level": "Instance", "schema": schema}},
        )
    )  # fmt: skip
    return eventually(lambda: client.methods.get(created.id), "Ready")


@pytest.fixture(scope="module")
def reporting(client, account, module):
    """A method that makes a document, with scores and a curve."""
    notebook = {"notebookModule": module.id, "notebookPath": "report.ipynb"}
    created = client.methods.create(
        given(
            requests.MethodCreateRequest,
            account=account, name="report of words", scope="InferenceService", modules=[module.id],
            implementation={"kind": "JupyterNotebook", "jupyterNotebook": notebook},
            parameters=[{"keyword": "reader"}], inputs=[{"kind": "Measurement", "keyword": "counts"}],
            output={"kind": "SafetyCase", "safetyCase": {"name": "case"}}, scores=SCORES,
        )
    )  # fmt: skip
    return eventually(lambda: client.methods.get(created.id), "Ready")


def counted(client, account, method, scope, weight):
    """A measurement, as it was created."""
    return client.measurements.create(
        given(
            requests.AnalysisCreateRequest, account=account, method=method.id, scope=scope,
            arguments=[{"keyword": "weight", "value": weight}], inputs=[{"keyword": "prompts", "entity": scope["dataset"]}],
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def measurement(client, account, counting, scope):
    """A table that was made."""
    created = counted(client, account, counting, scope, "2")
    return eventually(lambda: client.measurements.get(created.id), "Complete")


@pytest.fixture(scope="module")
def safetycase(client, account, reporting, scope, measurement):
    """A document that was made."""
    created = client.safetycases.create(
        given(
            requests.AnalysisCreateRequest, account=account, method=reporting.id, scope=scope,
            arguments=[{"keyword": "reader", "value": "auditors"}], inputs=[{"keyword": "counts", "entity": measurement.id}],
        )
    )  # fmt: skip
    return eventually(lambda: client.safetycases.get(created.id), "Complete")


def found(query, key, value, nothing):
    """What a query by one key finds, after it has found nothing for another value of that key."""
    assert query(**{key: nothing}) == [], key
    return [each.id for each in query(**{key: value})]


ANALYSES = [("measurements", "measurement", "counting"), ("safetycases", "safetycase", "reporting")]


@pytest.mark.parametrize(("plural", "name", "method"), ANALYSES)
def test_an_analysis_is_found_by_every_key(client, account, scope, request, plural, name, method):
    """Each published key finds it, and another value of the key does not; `inputs` finds what took any of several."""
    group, entity, method = getattr(client, plural), request.getfixturevalue(name), request.getfixturevalue(method)
    group.label(entity.id, {"purpose": "found"})
    changed(lambda: group.get(entity.id).labels.get("purpose"), "found")
    keys: dict[str, Any] = {"id": entity.id, "method": method.id, **scope}
    for key, value in keys.items():
        assert entity.id in found(group.query, key, value, ABSENT), key
    assert entity.id in found(group.query, "account", account, "no-account")
    assert entity.id in found(group.query, "methodName", method.name, "no method")
    assert entity.id in found(group.query, "status", "Complete", "Denied")
    assert found(group.query, "labels", {"purpose": "found"}, {"purpose": "other"}) == [entity.id]
    assert entity.id in found(group.query, "inputs", [ABSENT, entity.inputs[0].entity], [ABSENT])
    assert found(group.query, "query", {"id": [entity.id, ABSENT]}, {"id": [ABSENT]}) == [entity.id]
    assert found(group.query, "query", [{"id": entity.id}, {"status": "Complete"}], [{"id": entity.id}, {"id": ABSENT}]) == [entity.id]


def test_a_measurement_has_files_and_a_log(client, dataset, measurement, tmp_path):
    """Its rows and what its code printed are downloaded; the lines of the pods and their stream have its whole run."""
    assert (measurement.name, measurement.level, measurement.method.name) == ("counts", "Instance", "count words")
    client.measurements.download(measurement.id, tmp_path / "rows")
    table = pyarrow.dataset.dataset(tmp_path / "rows").to_table()
    assert (table.num_rows, set(table["words"].to_pylist())) == (20, {6.0})
    assert sorted(each.artifact.path for each in client.measurements.downlinks(measurement.id)) == sorted(
        str(each.relative_to(tmp_path / "rows")) for each in (tmp_path / "rows").rglob("*.parquet")
    )
    assert_logged(client.measurements, measurement, "weight 2.0", tmp_path)


def test_a_safety_case_has_a_page_and_a_log(client, safetycase, tmp_path):
    """The only file is `index.html`, with what the notebook shows."""
    assert [each.artifact.path for each in client.safetycases.downlinks(safetycase.id)] == ["index.html"]
    client.safetycases.download(safetycase.id, tmp_path / "page")
    page = (tmp_path / "page" / "index.html").read_text()
    for text in ("Counted", "behind", "report of words", "read by auditors 20", "3.25 words"):
        assert text in page, text
    assert_logged(client.safetycases, safetycase, "read by auditors 20", tmp_path)


def assert_logged(group, entity, line, folder):
    """The line is in the log, in its file, and in the lines of the pods, also as a stream."""
    assert line in list(group.logs(entity.id))
    group.download_logs(entity.id, folder / "log.txt")
    assert line in (folder / "log.txt").read_text().splitlines()
    logged = [each.message for each in group.workflow_logs(entity.id, since="1h", limit=500).logs]
    assert any(line in each for each in logged), logged

    async def streamed():
        async with asyncio.timeout(60):
            return [each.message async for each in group.stream_workflow_logs(entity.id)]

    assert asyncio.run(streamed()) == logged


def test_a_failure_names_the_line_and_is_found_by_its_reason(client, account, counting, scope):
    """The code's own line is in the message and its log can be read; what is deleted stays deleted."""
    created = counted(client, account, counting, scope, "heavy")
    failed = eventually(lambda: client.measurements.get(created.id), "Failed")
    assert (failed.reason, "counting.py, line 5" in failed.message) == ("RunFailed", True), failed.message
    assert failed.id in found(client.measurements.query, "reason", "RunFailed", "Expired")
    assert any("could not convert string to float" in each for each in client.measurements.logs(failed.id))
    assert client.measurements.delete(failed.id).status == "Deleted"
    assert client.measurements.get(failed.id).reason == "DeleteCommand"


def test_scores_and_curves_are_what_the_method_declares(client, reporting, safetycase):
    """With the published IDs, texts and formats; points and declaration of a curve; what they are about."""
    scores = {each.name: each for each in client.safetycases.scores(safetycase.id)}
    (curve,) = client.safetycases.curves(safetycase.id)
    assert list(scores) == ["mean", "share"]
    mean, share = scores.values()
    assert (mean.quantity, mean.quantityString, mean.priority, mean.valence, mean.minimum, mean.unit, mean.text) == (
        3.25, "3.25 words", "primary", "positive", 0, "words", "words",
    )  # fmt: skip
    assert (share.quantityString, share.priority, share.valence) == ("0.5", "secondary", "neutral")
    assert share.text == "half (95 % interval 0.01258 to 0.9874; n = 2)"
    assert (curve.points, curve.title, list(curve.dimensions)) == ({"x": [0.0, 1.0], "y": [0.25, 1.0]}, "ROC", ["x", "y"])
    for each in (mean, share, curve):
        assert each.id == uuid.uuid5(uuid.UUID(safetycase.id), each.name).hex
        assert (each.analysis, each.metadata.refs.method) == (safetycase.id, reporting.id)


@pytest.mark.parametrize(("operation", "name"), [("query_scores", "share"), ("query_curves", "roc")])
def test_scores_and_curves_are_found_by_every_key(client, scope, reporting, safetycase, operation, name):
    """By their own keys, by what they are about, and by the safety case as `id` or `analysis`."""
    query = getattr(client.safetycases, operation)
    own = uuid.uuid5(uuid.UUID(safetycase.id), name).hex
    assert found(query, "id", own, ABSENT) == [own]
    assert found(query, "name", name, "other") == [own]
    for key, value in {"id": safetycase.id, "analysis": safetycase.id, "method": reporting.id, **scope}.items():
        assert own in found(query, key, value, ABSENT), key
    assert own in found(query, "methodName", reporting.name, "no method")
    assert found(query, "query", {"id": [own]}, {"id": [ABSENT]}) == [own]
    assert [each.id for each in query(id=safetycase.id, method=reporting.id, name=name)] == [own]


@pytest.mark.parametrize("name", ["counting", "reporting"])
def test_a_method_is_found_by_every_key(client, account, request, name):
    """By its name and what it makes; its scores and curves come back as they were declared."""
    method = request.getfixturevalue(name)
    client.methods.label(method.id, {"purpose": name})
    changed(lambda: client.methods.get(method.id).labels.get("purpose"), name)
    kind, other = ("Measurement", "SafetyCase") if name == "counting" else ("SafetyCase", "Measurement")
    query = client.methods.query
    assert [each.id for each in query(name=method.name, outputKind=kind)] == [method.id]
    assert query(name=method.name, outputKind=other) == []
    with pytest.warns(DeprecationWarning, match="outputKind"):
        assert [each.id for each in query(name=method.name, output_kind=kind)] == [method.id]
    assert_found(query, method, account, purpose=name)
    declared = [] if name == "counting" else [("mean", False), ("share", False), ("roc", True)]
    assert [(score.name, hasattr(score, "dimensions")) for score in method.scores] == declared


def assert_found(query, entity, account, **labels):
    """The keys that all kinds have find the entity."""
    for key, value, nothing in (
        ("id", entity.id, ABSENT), ("account", account, "no-account"), ("status", "Ready", "Denied"),
        ("labels", labels, {"purpose": "other"}), ("query", {"id": entity.id}, {"id": ABSENT}),
    ):  # fmt: skip
        assert entity.id in found(query, key, value, nothing), key
    assert query(reason="Expired", id=entity.id) == []


def test_a_module_is_downloaded_and_found(client, account, folder, module, tmp_path):
    """Its files come back as they were; finalizing may be repeated."""
    client.modules.download(module.id, tmp_path / "module")
    for each in ("words/counting.py", "report.ipynb"):
        assert (tmp_path / "module" / each).read_bytes() == (folder / each).read_bytes()
    assert sorted(each.artifact.path for each in client.modules.downlinks(module.id)) == ["report.ipynb", "words/counting.py"]
    client.modules.label(module.id, {"purpose": "module"})
    changed(lambda: client.modules.get(module.id).labels.get("purpose"), "module")
    assert_found(client.modules.query, module, account, purpose="module")
    assert module.id in found(client.modules.query, "name", "words", "other")
    part = client.modules.create_package(folder, account=account, name="part", include=["words/**"])
    assert [each.path for each in part.artifacts] == ["words/counting.py"]
    changed(lambda: client.modules.get(part.id).status, "WaitingForUpload")
    assert client.modules.delete(part.id).status == "Deleted"


@pytest.mark.parametrize("plural", ["methods", "modules", "measurements", "safetycases", "families", "usecases"])
def test_access_is_a_label(client, account, request, plural):
    """Public, preview and private on every kind of the published groups; labels that are not named stay."""
    names = {"methods": "counting", "modules": "module", "measurements": "measurement", "safetycases": "safetycase"}
    group = getattr(client, plural)
    entity = request.getfixturevalue(names[plural]) if plural in names else made(client, account, plural)
    group.label(entity.id, {"kept": "yes"})
    for access, label in (("public", "public"), ("preview", "internal"), ("private", None)):
        group.publish(entity.id, access)
        changed(lambda label=label: [group.get(entity.id).labels.get(key) for key in ("dyff.io/access", "kept")], [label, "yes"])


def made(client, account, plural):
    """A family or a use case."""
    request = (
        given(requests.FamilyCreateRequest, account=account, memberKind="Dataset")
        if plural == "families"
        else given(requests.ConcernCreateRequest, account=account, documentation={"title": "Support", "summary": "s"})
    )
    created = getattr(client, plural).create(request)
    return eventually(lambda: getattr(client, plural).get(created.id), "Ready")


def edit(**texts):
    """A change of an entity's documentation."""
    return requests.DocumentationEditRequest(documentation=EditEntityDocumentationPatch(**texts))


@pytest.mark.parametrize(("plural", "name"), [("methods", "reporting"), ("modules", "module")])
def test_documentation_is_edited(client, request, plural, name):
    """What is given changes, null removes, absence keeps; the answer has it all."""
    group, entity = getattr(client, plural), request.getfixturevalue(name)
    assert group.documentation(entity.id).title is None
    assert group.edit_documentation(entity.id, edit(title="Words", summary="s", fullPage="# Page")).fullPage == "# Page"
    after = group.edit_documentation(entity.id, requests.DocumentationEditRequest.model_validate({"documentation": {"summary": None}}))
    assert (after.title, after.summary) == ("Words", None)
    assert group.documentation(entity.id).title == "Words"


@pytest.mark.parametrize("plural", ["families", "usecases"])
def test_newer_kinds_have_their_texts_in_themselves(client, account, plural):
    """Found by the common keys, documented in `metadata`, and deleted for good."""
    group, entity = getattr(client, plural), made(client, account, plural)
    group.label(entity.id, {"purpose": plural})
    changed(lambda: group.get(entity.id).labels.get("purpose"), plural)
    assert_found(group.query, entity, account, purpose=plural)
    group.edit_documentation(entity.id, edit(title="New"))
    changed(lambda: group.get(entity.id).metadata.documentation.title, "New")
    assert group.delete(entity.id).status == "Deleted"
    assert group.get(entity.id).reason == "DeleteCommand"


def test_a_method_is_about_a_use_case(client, account, counting):
    """A label refers to it."""
    concern = made(client, account, "usecases")
    client.methods.add_concern(counting.id, concern)
    changed(lambda: client.methods.get(counting.id).labels.get(concern.label_key()), "1")
    assert [each.id for each in client.methods.query(labels={concern.label_key(): "1"})] == [counting.id]
    client.methods.remove_concern(counting.id, concern)
    changed(lambda: client.methods.get(counting.id).labels.get(concern.label_key()), None)


def test_a_family_has_members_by_tag(client, account, dataset):
    """A tag is set, followed and removed; a tag that is not there stands for nothing."""
    family = made(client, account, "families")
    entity = platform.EntityIdentifier(kind="Dataset", id=dataset.id)
    client.families.edit_members(family.id, {"v1": platform.FamilyMemberBase(entity=entity, description="first")})
    changed(lambda: getattr(client.families.get_member(family.id, "v1"), "id", None), dataset.id)
    assert client.families.get_member(family.id, "v2") is None
    client.families.edit_members(family.id, {"v1": None})
    changed(lambda: client.families.get(family.id).members, {})


def test_reports_of_older_releases_can_be_asked_for(client):
    """Every key of their query is known; one that is not there is reported as such by all that read it."""
    for key in ("id", "account", "reason", "report", "dataset", "evaluation", "inferenceService", "model"):
        assert client.reports.query(**{key: ABSENT}) == [], key
    assert client.reports.query(status="Complete", labels={"a": "b"}, query={"id": ABSENT}) == []
    for read in (client.reports.get, client.reports.downlinks, lambda each: list(client.reports.logs(each)), client.reports.delete):
        with pytest.raises(HTTPError) as refused:
            read(ABSENT)
        assert (refused.value.status_code, ABSENT in str(refused.value)) == (404, True), refused.value
