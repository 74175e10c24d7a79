"""Methods that are Python functions, run by the real runner in the environment of analyses."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.analyses.runs import ROOT, SCHEMA, Analysis, columns

DATA = pa.table({"_index_": [0, 1], "text": ["a b c", "d"]})
HEAD = "import pyarrow as pa\nSCHEMA = pa.schema([('_index_', pa.int64()), ('words', pa.float64())])\n"
WORDS = HEAD + (
    "def mean_word_length(arguments, data):\n"
    "    for batch in data.to_batches():\n"
    "        rows = [{'_index_': row['_index_'], 'words': float(len(row['text'].split()))} for row in batch.to_pylist()]\n"
    "        yield pa.RecordBatch.from_pylist(rows, schema=SCHEMA)\n"
)
ROWS = [{"_index_": 0, "words": 3.0}, {"_index_": 1, "words": 1.0}]


def function(body):
    """A module whose function has this body."""
    return HEAD + "def mean_word_length(arguments, **inputs):\n" + "".join(f"    {each}\n" for each in body.splitlines())


@pytest.fixture
def analysis(tmp_path):
    """Makes an analysis with a function."""

    def make(text=WORDS, **more):
        return Analysis(tmp_path, **{"files": {"word_length.py": text}, "datasets": {"data": DATA}, **more})

    return make


def test_a_function_makes_a_measurement(analysis):
    """Its batches become rows with the method's schema, and the outcome records what ran."""
    run = analysis().run()
    run.succeeded()
    assert run.rows == ROWS
    assert parquet.read_schema(next(run.result.glob("*.parquet"))).equals(SCHEMA)
    outcome = run.outcome
    assert outcome["line"] is None
    assert outcome["environment"]["packages"]["dyff-audit"] == "0.18.5"
    assert len(outcome["environment"]["digest"]) == 64
    assert outcome["started"] < outcome["ended"]
    assert outcome["machine"]["architecture"]
    assert not (run.out / "work").exists()


def test_dyff_audit_is_not_imported_unasked(analysis):
    """Its import takes seconds, so a function that needs only pyarrow must not pay for it."""
    run = analysis(function("import sys\nprint(sorted({each.partition('.')[0] for each in sys.modules}))\nreturn []"), datasets={}).run()
    run.succeeded()
    for name in ("dyff", "pandas", "IPython", "nbconvert", "matplotlib", "scipy"):
        assert f"'{name}'" not in run.text


@pytest.mark.parametrize(
    "returned",
    [
        "return pa.RecordBatch.from_pylist(ROWS, schema=SCHEMA)",
        "return pa.Table.from_pylist(ROWS, schema=SCHEMA)",
        "return pa.RecordBatchReader.from_batches(SCHEMA, pa.Table.from_pylist(ROWS, schema=SCHEMA).to_batches())",
        "yield pa.Table.from_pylist(ROWS, schema=SCHEMA).select(['words', '_index_'])",
        "return (each for each in pa.Table.from_pylist(ROWS, schema=SCHEMA).to_batches(max_chunksize=1))",
    ],
)
def test_forms_of_output(analysis, returned):
    """A table, a batch, a reader or an iterator of them; the order of the columns does not matter."""
    run = analysis(f"ROWS = {ROWS}\n" + function(returned)).run()
    assert run.succeeded().rows == ROWS


def test_no_rows_are_an_empty_measurement(analysis):
    """A file with the schema is there, so that a reader finds the columns."""
    run = analysis(function("return []")).run().succeeded()
    assert run.rows == []
    assert len(list(run.result.glob("*.parquet"))) == 1


def test_many_small_batches_become_few_groups(analysis):
    """A file of many small groups is slow to read."""
    body = "for i in range(3000):\n    yield pa.RecordBatch.from_pylist([{'_index_': i, 'words': 1.0}], schema=SCHEMA)"
    run = analysis(function(body)).run().succeeded()
    (file,) = run.result.glob("*.parquet")
    assert parquet.ParquetFile(file).num_row_groups == 1
    assert len(run.rows) == 3000


def test_arguments_and_scores(analysis):
    """Arguments are text; AnalysisContext works without arguments and stores a score."""
    body = (
        "from dyff.audit.analysis import AnalysisContext\nctx = AnalysisContext()\n"
        "assert arguments == ctx.arguments == {'threshold': '3'}\n"
        "ctx.Score(output='mean', quantity=2.0, text='words', display=False)\n"
        "yield from ctx.open_input_dataset('data').to_table().select(['_index_']).append_column('words', pa.array([1.0, 2.0])).to_batches()"
    )
    score = {"name": "mean", "title": "Mean", "summary": "Mean words"}
    run = analysis(function(body), arguments={"threshold": "3"}, scores=[score]).run().succeeded()
    assert '"name":"mean"' in (run.result / ".dyff/scores.json").read_text()
    assert len(run.rows) == 2


def test_a_declared_schema_opens_the_data(analysis, tmp_path):
    """Types of partitions come from the declared schema, not from their folders' names; hidden files are no part of the data."""
    schema = columns(_index_=pa.int64(), text=pa.string(), _replication_=pa.string())
    shown = "data.schema.field('_replication_').type, sorted(data.to_table()['_replication_'].to_pylist())"
    body = f"data = inputs['data']\nprint({shown})\nreturn []"
    made = analysis(function(body), datasets={"data": None}, schemas={"data": schema}).prepare()
    folder = made.inside / made.input_ids["data"]
    for name in ("_replication_=007", "_replication_=8"):
        (folder / name).mkdir()
        parquet.write_table(DATA, folder / name / "part.parquet")
    (folder / ".dyff/exchanges").mkdir(parents=True)
    (folder / ".dyff/exchanges/one.parquet").write_text("not Parquet")
    assert "string ['007', '007', '8', '8']" in made.again().succeeded().text


def test_an_empty_input_has_its_declared_columns(analysis):
    """A folder without files is a dataset without rows."""
    body = "print(inputs['data'].schema.names, inputs['data'].count_rows())\nreturn []"
    run = analysis(function(body), datasets={"data": None}, schemas={"data": DATA.schema}).run()
    assert "['_index_', 'text'] 0" in run.succeeded().text


def test_kept_exchanges_are_reachable_as_files(analysis):
    """They are below the folder of the evaluation, in the storage root."""
    body = (
        "import os, pathlib\nfrom_root = pathlib.Path(os.environ['DYFF_AUDIT_LOCAL_STORAGE_ROOT'])\n"
        "print([each.read_text() for each in from_root.glob('*/.dyff/exchanges/*')])\nreturn []"
    )
    made = analysis(function(body)).prepare()
    kept = made.inside / made.input_ids["data"] / ".dyff/exchanges"
    kept.mkdir(parents=True)
    (kept / "one.json").write_text("an exchange")
    assert "['an exchange']" in made.again().succeeded().text


def test_modules_are_on_the_path_also_of_subprocesses(analysis):
    """A Python process that the code starts finds the same modules."""
    body = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import helper; print(helper.NAME)'], check=True)\nreturn []"
    run = analysis(files={"word_length.py": function(body), "helper.py": "NAME = 'found'"}).run()
    assert "found" in run.succeeded().text


def test_the_runner_takes_no_names_from_the_code(analysis):
    """The code may have modules that are called like those of the runner, or of libraries that the runner uses."""
    names = ("places", "failures", "running", "reporting", "datasets", "batches", "writing", "logs", "child")
    run = analysis(files={"word_length.py": WORDS, **{f"{name}.py": "raise RuntimeError" for name in names}}).run()
    assert run.succeeded().rows == ROWS


def test_a_repeated_run_starts_from_nothing(analysis):
    """What an earlier attempt left is removed, and random numbers are the same."""
    body = "import random, os\nprint('drawn', random.random(), os.environ['DYFF_SEED'], hash('text'))\nreturn []"
    made = analysis(function(body))
    first = made.run().succeeded()
    for name in ("left.parquet", ".dyff/scores.json"):
        (first.result / name).write_text("{}")
    second = made.again().succeeded()
    assert sorted(each.name for each in second.result.iterdir()) == [".dyff", "part-0.parquet"]
    assert list((second.result / ".dyff").iterdir()) == []
    drawn = [[each for each in run.text.splitlines() if each.startswith("drawn")] for run in (first, second)]
    assert drawn[0] == drawn[1] != []
    assert first.outcome["seed"] == second.outcome["seed"]
    assert first.outcome["attempt"] != second.outcome["attempt"]


def test_the_environment_of_the_code_has_no_secrets(analysis):
    """It gets named variables only."""
    run = analysis(function("import os\nprint(dict(os.environ))\nreturn []")).run(DYFF_SECRET="s3cret", AWS_SECRET_ACCESS_KEY="s3cret")
    assert "s3cret" not in run.succeeded().text


def test_columns_without_values_take_the_declared_type(analysis):
    """A column that has only nulls has no type of its own."""
    run = analysis(function("yield pa.RecordBatch.from_pylist([{'_index_': 1, 'words': None}])")).run()
    assert run.succeeded().rows == [{"_index_": 1, "words": None}]


def test_a_rubric(analysis):
    """It is applied to task_data and predictions."""
    text = HEAD + (
        "from dyff.audit.scoring import Rubric\n"
        "class Words(Rubric):\n"
        "    name = 'Words'\n    schema = SCHEMA\n"
        "    def apply(self, task_data, predictions):\n"
        "        yield pa.RecordBatch.from_pylist([{'_index_': i, 'words': 1.0} for i in range(predictions.count_rows())], schema=SCHEMA)\n"
    )
    datasets = {"task_data": DATA, "predictions": DATA}
    run = analysis(text, kind="PythonRubric", name="word_length.Words", datasets=datasets).run()
    assert run.succeeded().rows == [{"_index_": 0, "words": 1.0}, {"_index_": 1, "words": 1.0}]


def test_a_published_rubric_by_its_short_name(analysis):
    """Old methods name the rubrics of dyff.audit.scoring without the package."""
    schema = columns(_index_=pa.int64(), _replication_=pa.string(), top1=pa.bool_(), top5=pa.bool_())
    task = pa.table({"_index_": [0, 1], "label": ["a", "b"]})
    answers = [["a", "b"], ["a", "b"]]
    predictions = pa.table({"_index_": [0, 1], "_replication_": ["r", "r"], "responses": answers})
    datasets = {"task_data": task, "predictions": predictions}
    run = analysis(kind="PythonRubric", name="classification.TopKAccuracy", datasets=datasets, schema=schema).run()
    assert [(row["top1"], row["top5"]) for row in run.succeeded().rows] == [(True, True), (False, True)]


def test_another_release_of_python(analysis):
    """The runner's own files are read by the oldest Python that an environment may have."""
    import ast

    for path in (ROOT / "dyff/workflows/analysis_runner").glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 10))


def test_the_schema_of_a_method_may_have_metadata(analysis):
    """Descriptions of columns, as the published package makes them, are kept."""
    schema = columns(_index_=pa.field("_index_", pa.int64(), metadata={"__doc__": "the item"}), words=pa.float64())
    run = analysis(schema=schema).run().succeeded()
    field = parquet.read_schema(next(run.result.glob("*.parquet"))).field("_index_")
    assert field.metadata == {b"__doc__": b"the item"}
