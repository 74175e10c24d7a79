"""Exports as strangers use them: programs that others wrote read what `dyff export` writes."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from urllib.parse import quote

import httpx
import jsonschema
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from dyff.sdk import Client
from tests.acceptance.conftest import DYFF, plain_environment
from tests.analyses import runs

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv-exports"
RECOMMENDED = ("citeAs", "datePublished", "license", "version")
"""What Croissant recommends and the platform does not know."""


@pytest.fixture(scope="module")
def tools():
    """Python of the environment with programs of others."""
    made = subprocess.run(["make", "--silent", f"{TOOLS.name}/.ready"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return TOOLS / "bin/python"


@pytest.fixture(scope="module")
def our_client(server, token):
    """Our client."""
    with Client(api_token=token, endpoint=server.endpoint) as made:
        yield made


@pytest.fixture
def export(server, token, tmp_path):
    """Runs `dyff export`: arguments to the JSON that it wrote."""

    def command(*arguments):
        env = plain_environment() | {"DYFF_API_ENDPOINT": server.endpoint, "DYFF_API_TOKEN": token}
        file = tmp_path / "exported.json"
        words = [DYFF, "export", *arguments, "-o", str(file)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, env=env)
        assert done.returncode == 0, done.stderr
        return json.loads(file.read_text())

    return command


def read(tools, tmp_path, document, *mapping, **variables):
    """What the reader of MLCommons makes of a document."""
    file = tmp_path / "croissant.json"
    file.write_text(json.dumps(document))
    env = plain_environment() | {"CROISSANT_CACHE": str(tmp_path / "cache")} | variables
    words = [str(tools), str(Path(__file__).with_name("reading_croissant.py")), str(file), *mapping]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def made(client, account, folder, name, **files):
    """A dataset of these tables."""
    folder.mkdir()
    for each, table in files.items():
        pa.parquet.write_table(table, folder / f"{each}.parquet")
    dataset = client.datasets.create_arrow_dataset(folder, account=account, name=name)
    client.datasets.upload_arrow_dataset(dataset, folder, progress=False)
    return client.datasets.wait(dataset.id, progress=False)


NESTED = pa.table(
    {
        "_index_": pa.array([0, 1], pa.int64()),
        "a text": ["grün", None],
        "when": pa.array([1709211900000000] * 2, pa.timestamp("us")),
        "tags": pa.array([["x", "y"], []], pa.list_(pa.string())),
        "parts": pa.array([{"n": 1, "it's": {"deep": True}}, {"n": 2, "it's": {"deep": False}}]),
        "choices": pa.array([[{"p": 0.5}, {"p": 0.25}], []], pa.list_(pa.struct([("p", pa.float64())]))),
    }
)
ROWS = [
    {
        "_index_": 0, "a%20text": "grün", "when": "2024-02-29T13:05:00", "tags": ["x", "y"], "parts": {"n": 1},
        "it%27s": {"deep": True}, "choices": [{"p": 0.5}, {"p": 0.25}],
    },
    {
        "_index_": 1, "a%20text": None, "when": "2024-02-29T13:05:00", "tags": [], "parts": {"n": 2}, "it%27s": {"deep": False},
        "choices": [],
    },
]  # fmt: skip


def test_croissant_is_valid_and_its_records_load(our_client, account, export, tools, tmp_path):
    """The reader of MLCommons finds no error, and reads downloaded files, whose digests it compares, with nested columns."""
    dataset = made(our_client, account, tmp_path / "rows", "nested", rows=NESTED)
    document = export("croissant", dataset.id)
    our_client.datasets.download(dataset.id, tmp_path / "downloaded", progress=False)
    mapping = [f"{each['@id']}={tmp_path / 'downloaded' / each['name']}" for each in document["distribution"]]
    found = read(tools, tmp_path, document, *mapping)
    assert found["errors"] == []
    assert len(found["warnings"]) == len(RECOMMENDED), found["warnings"]
    assert all(any(word in each for each in found["warnings"]) for word in RECOMMENDED)
    assert found["records"] == {"rows": ROWS}
    stated = export("croissant", dataset.id, "--license", "https://spdx.org/licenses/CC0-1.0", "--citation", "Us, 2026")
    assert (stated["license"], stated["citeAs"]) == ("https://spdx.org/licenses/CC0-1.0", "Us, 2026")
    damaged = json.loads(json.dumps(document).replace(document["distribution"][0]["sha256"], "0" * 64))
    file = tmp_path / "croissant.json"
    file.write_text(json.dumps(damaged))
    words = [str(tools), str(Path(__file__).with_name("reading_croissant.py")), str(file), *mapping]
    refused = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (refused.returncode, "not identical" in refused.stderr) == (1, True), refused.stderr


def test_a_stranger_with_a_token_reads_a_dataset_by_its_addresses(our_client, account, export, tools, token, tmp_path):
    """The addresses in the document work as they are, with the token as a password, for each of several files."""
    tables = {name: pa.table({"_index_": pa.array([n], pa.int64()), "text": [name]}) for n, name in enumerate(("one", "two"))}
    dataset = made(our_client, account, tmp_path / "rows", "several", **tables)
    found = read(
        tools, tmp_path, export("croissant", dataset.id), CROISSANT_BASIC_AUTH_USERNAME="token", CROISSANT_BASIC_AUTH_PASSWORD=token
    )
    rows = {f"rows/{quote(name)}.parquet": [{"_index_": n, "text": name}] for n, name in enumerate(tables)}
    assert found["records"] == rows


@pytest.fixture
def reader(server, account, tmp_path):
    """The token of somebody who may read and fetch what the account has, and nothing else."""
    file = tmp_path / "grants.json"
    file.write_text(json.dumps([{"resources": ["*"], "functions": ["get", "query", "data"], "accounts": [account]}]))
    return server.command("token", "create", "--account", account, "--grants", str(file))


@pytest.fixture
def case(our_client, server, token, account, dataset, service, tmp_path):
    """A complete safety case: the example's notebook on an evaluation."""
    runs.environment()
    evaluation = our_client.evaluations.create(
        {"account": account, "dataset": dataset.id, "inferenceSession": {"inferenceService": service.id}, "replications": 2}
    )
    our_client.evaluations.wait(evaluation.id, timeout_s=240, progress=False)
    env = plain_environment() | {"DYFF_API_ENDPOINT": server.endpoint, "DYFF_API_TOKEN": token}

    def method(*words):
        done = subprocess.run([DYFF, "method", *words], capture_output=True, text=True, timeout=240, check=False, env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    method("new", "report", "--kind", "notebook")
    pushed = dict(line.split() for line in method("push", "report", "--account", account).splitlines()[:3])
    made = our_client.safetycases.create(
        {
            "account": account,
            "method": pushed["method"],
            "scope": {"dataset": dataset.id, "inferenceService": service.id, "evaluation": evaluation.id},
            "arguments": [{"keyword": "shortest", "value": "3"}],
            "inputs": [{"keyword": "outputs", "entity": evaluation.id}],
        }
    )
    return our_client.safetycases.wait(made.id, timeout_s=240, progress=False)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Stranger:
    """Knows a document, and fetches what it names. Nothing here uses the client."""

    def __init__(self, found, token):
        self.entities, self.found = found["entity"], found
        self.api = found["prefix"]["api"]
        self.http = httpx.Client(headers={"Authorization": f"Bearer {token}"}, follow_redirects=True, timeout=60)

    def maker(self, name):
        """The run that made something."""
        (made,) = [each for each in self.found["wasGeneratedBy"].values() if each["prov:entity"] == name]
        return made["prov:activity"]

    def used(self, activity):
        """By role, what a run used."""
        return {each["prov:role"]: each["prov:entity"] for each in self.found["used"].values() if each["prov:activity"] == activity}

    def get(self, name):
        """An entity, by its name in the document."""
        return self.http.get(self.api + name.removeprefix("api:")).raise_for_status().json()

    def fetch(self, name, folder):
        """All files of an entity, each compared with what the document says; the document also lists each."""
        manifest = self.http.get(self.entities[name]["dyff:manifest"]["$"]).raise_for_status().content
        assert sha256(manifest) == self.entities[name]["dyff:sha256"]
        listed = {each["path"]: each["digest"]["sha256"] for each in json.loads(manifest)["artifacts"]}
        members = [each["prov:entity"] for each in self.found["hadMember"].values() if each["prov:collection"] == name]
        assert {self.entities[each]["prov:label"]: self.entities[each]["dyff:sha256"] for each in members} == listed
        for each in members:
            data = self.http.get(self.entities[each]["prov:location"]["$"]).raise_for_status().content
            assert sha256(data) == self.entities[each]["dyff:sha256"]
            place = folder / self.entities[each]["prov:label"]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)


def test_a_stranger_rebuilds_a_score(case, export, reader, tools, tmp_path):
    """From the document alone: fetch all that it names, compare the digests, run the method again, and get the same score."""
    [score] = case.scores
    found = export("provenance", score.id)
    stranger = Stranger(found, reader)
    with stranger.http:
        (name,) = [each for each, about in stranger.entities.items() if about.get("dyff:id") == score.id]
        run = stranger.maker(name)
        used = stranger.used(run)
        stranger.fetch(used["input outputs"], tmp_path / "outputs")
        stranger.fetch(used["module"], tmp_path / "again/module")
        answers = stranger.used(stranger.maker(used["input outputs"]))
        stranger.fetch(answers["items"], tmp_path / "items")
        method = stranger.get(run.removesuffix("#run"))["method"]
        service = stranger.get(used["input outputs"])["inferenceSession"]["inferenceService"]
    for each, entity in ((used["method"], method), (answers["system"], service)):
        plain = json.dumps(entity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert sha256(plain.encode()) == stranger.entities[each]["dyff:sha256"]
    items, outputs = (pa.dataset.dataset(tmp_path / each).to_table().column("_index_").to_pylist() for each in ("items", "outputs"))
    assert sorted(outputs) == sorted(items * 2)
    described = "import sys; sys.path.insert(0, sys.argv[1]); import environment; print(environment.described()['digest'])"
    own = subprocess.run([runs.environment(), "-I", "-c", described, str(runs.RUNNER)], capture_output=True, text=True, check=True)
    assert own.stdout.strip() == stranger.entities[used["environment"]]["dyff:sha256"]
    request = {key: each for key, each in method.items() if key not in ("id", "account", "modules") and each is not None}
    del request["implementation"]["jupyterNotebook"]["notebookModule"]
    (tmp_path / "again/method.json").write_text(json.dumps(request))
    arguments = json.loads(found["activity"][run]["dyff:arguments"])
    words = [DYFF, "method", "test", "again", "--input", "outputs=outputs"]
    words += [word for key, each in arguments.items() for word in ("--argument", f"{key}={each}")]
    again = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False, env=plain_environment(), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"score {score.name}: {stranger.entities[name]['dyff:quantityString']} " in again.stdout
    (tmp_path / "prov.json").write_text(json.dumps(found))
    words = [str(tools), str(Path(__file__).with_name("reading_prov.py")), str(tmp_path / "prov.json")]
    seen = json.loads(subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout)
    assert seen["entities"] == len(found["entity"])
    assert seen["relations"] == sum(len(found[each]) for each in ("used", "wasGeneratedBy", "hadMember", "wasAttributedTo"))
    assert seen["values"][name.replace("api:", found["prefix"]["api"])] == score.quantity


def test_a_safety_case_is_a_document_of_every_eval_ever(case, export):
    """It fits the schema of that project, and has the score, the system and the dataset of the case."""
    schema = json.loads((ROOT / "tests/entities/every_eval_ever/eval.schema.json").read_text())
    found = export("eee", case.id)
    jsonschema.Draft7Validator(schema).validate(found)
    [result], [score] = found["evaluation_results"], case.scores
    assert (result["evaluation_result_id"], result["score_details"]["score"]) == (score.id, score.quantity)
    assert found["model_info"]["additional_details"]["requested_model"] == "mock"
    assert result["generation_config"]["additional_details"]["replications"] == "2"
