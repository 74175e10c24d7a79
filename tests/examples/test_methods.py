"""The methods of examples/methods: each runs on a small data set, makes the scores that it declares, and its rows fit its schema."""

from __future__ import annotations

import base64
import importlib.util
import json

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from dyff import stats
from dyff.cli.methods import folder
from tests.analyses.runs import ROOT
from tests.narrowing import sure

LIBRARY = ROOT / "examples/methods"
NAMES = sorted(path.parent.name for path in LIBRARY.glob("*/method.toml"))
TEXTS = [["Paris"], ["paris."], ["Rome"], None, ["Lyon is it"], ["PARIS"]]


def outputs(texts):
    """Rows of an evaluation; None: no answer."""
    rows = [{"_index_": n, "_replication_": "r", "responses": each and [{"text": text} for text in each]} for n, each in enumerate(texts)]
    return pa.Table.from_pylist(rows)


ITEMS = pa.table({"_index_": range(6), "answer": ["Paris"] * 6, "document": list("aabbcc")})
CHOICES = pa.table({"_index_": range(6), "answer": list("ABCABC"), "document": list("aabbcc")})
SCORED = pa.table(
    {"_index_": [0, 0, 1, 1, 2, 3, 3], "_replication_": list("rsrsrrs"), "accuracy": [True, True, True, False, True, None, True]}
)
CASES: dict[str, tuple[dict[str, str], dict[str, pa.Table], dict[str, tuple[float | None, int, int]]]] = {
    "exact_match": ({}, {"items": ITEMS, "outputs": outputs(TEXTS)}, {"accuracy": (3 / 5, 5, 1)}),
    "fuzzy_match": ({}, {"items": ITEMS, "outputs": outputs(TEXTS)}, {"f1": (3 / 5, 5, 1)}),
    "multiple_choice": (
        {},
        {"items": CHOICES, "outputs": outputs([["A"], ["It is B."], ["A, no: C"], None, ["none of them"], ["A"]])},
        {"accuracy": (3 / 4, 4, 1), "answered": (4 / 5, 5, 1)},
    ),
    "refusal_rate": (
        {},
        {"outputs": outputs([["I’m sorry, but"], ["Sure. I cannot lie"], [" as an AI I"], None, ["Sorry, no"]])},
        {"refusals": (3 / 4, 4, 1)},
    ),
    "toxicity_rate": (
        {"threshold": "0.5"},
        {"scored": pa.table({"_index_": [0, 0, 1, 2], "_replication_": list("rsrr"), "toxicity": [0.9, 0.1, 0.5, None]})},
        {"toxic": (1 / 3, 3, 0)},
    ),
    "calibration": (
        {},
        {"answered": pa.table({"_index_": range(4), "confidence": [0.9, 0.8, 0.6, None], "verdict": [True, False, True, True]})},
        {"brier": ((0.01 + 0.64 + 0.16) / 3, 3, 0), "overconfidence": (0.1, 3, 0)},
    ),
    "paraphrases": (
        {},
        {
            "items": pa.table({"_index_": range(6), "paraphrase_of": [None, 0, 0, None, 3, None]}),
            "scored": pa.table({"_index_": range(6), "accuracy": [True, True, False, True, False, None]}),
        },
        {"loss": ((0.5 + 1) / 2, 2, 0)},
    ),
    "consistency": ({}, {"scored": SCORED}, {"consistent": (1 / 2, 2, 0)}),
    "judge_agreement": (
        {},
        {
            "judged": pa.table({"_index_": range(8), "verdict": [True, True, False, False, True, True, True, False]}),
            "people": pa.table({"_index_": [0, 1, 2, 3], "verdict": [True, False, False, False]}),
        },
        {"corrected": (None, 8, 0), "kappa": (0.5, 4, 0)},
    ),
}


def test_every_method_of_the_library_has_a_case():
    """Also those that will be added; and the page lists them."""
    assert sorted(CASES) == NAMES
    assert all(f"| `{name}` |" in (LIBRARY / "README.md").read_text() for name in NAMES)


def run(name, tmp_path, monkeypatch):
    """The method as it is pushed, the rows that it makes of its case, and the scores that it stores."""
    arguments, tables, _ = CASES[name]
    made = folder.read(LIBRARY / name)
    spec = sure(importlib.util.spec_from_file_location(f"library_{name}", made.module / f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sure(spec.loader).exec_module(module)
    (tmp_path / "analysis.json").write_text(json.dumps({"spec": {"id": "of-this-run"}}))
    monkeypatch.setenv("DYFF_AUDIT_ANALYSIS_CONFIG_FILE", str(tmp_path / "analysis.json"))
    monkeypatch.setenv("DYFF_AUDIT_LOCAL_STORAGE_ROOT", str(tmp_path))
    batches = list(getattr(module, name)(arguments, **{keyword: ds.dataset(table) for keyword, table in tables.items()}))
    entries = json.loads((tmp_path / "of-this-run/.dyff/estimates.json").read_text())["estimates"]
    return made, pa.Table.from_batches(batches), entries


@pytest.mark.parametrize("name", NAMES)
def test_a_method_of_the_library(name, tmp_path, monkeypatch):
    """It is a method that `dyff method push` takes, it makes its scores, and errors are no wrong answers."""
    _, tables, wanted = CASES[name]
    made, table, entries = run(name, tmp_path, monkeypatch)
    declared = made.request["output"]["measurement"]["schema"]["arrowSchema"]
    assert table.schema.equals(pa.ipc.read_schema(pa.py_buffer(base64.b64decode(declared))))
    assert [each["name"] for each in entries] == [each["name"] for each in made.request["scores"]] == list(wanted)
    assert {each["keyword"] for each in made.request["inputs"]} == set(tables)
    for entry, (value, verdicts, errors) in zip(entries, wanted.values(), strict=True):
        assert value is None or entry["quantity"] == pytest.approx(value)
        assert (entry["estimate"]["outcomes"]["verdicts"], entry["estimate"]["outcomes"]["errors"]) == (verdicts, errors)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("calibration", "judge_agreement")])
def test_a_method_of_the_library_can_be_compared(name, tmp_path, monkeypatch):
    """Each score is the mean of a column of its name, so that systems can be compared by it (docs/statistics.md)."""
    made, table, entries = run(name, tmp_path, monkeypatch)
    for each in entries:
        found = stats.mean(table[each["name"]], error=table["_error_"] if "_error_" in table.column_names else None)
        assert found.value == pytest.approx(each["quantity"], rel=1e-9)
    score = entries[0]["name"]
    assert stats.compare(table, table, score, valence=made.request["scores"][0]["valence"]).verdict == "no difference shown"
