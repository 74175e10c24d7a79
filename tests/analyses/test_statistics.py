"""`dyff.stats` in the code of methods."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from dyff import stats
from tests.analyses.runs import Analysis, columns, notebook

SCORED: dict[str, list[Any]] = {"_index_": [0, 1, 2, 3], "right": [True, False, None, True], "failed": [False, False, True, False]}
SCORE = {"name": "accuracy", "title": "Accuracy", "summary": "How often it is right.", "priority": "primary", "format": "{quantity:.2f}"}
WANTED = stats.proportion(SCORED["right"], error=SCORED["failed"])

FUNCTION = """
import sys
import pyarrow as pa
from dyff import stats

def accuracy(arguments, scored):
    table = scored.to_table()
    found = stats.proportion(table["right"], error=table["failed"])
    stats.score("accuracy", found, "how often it is right")
    print("dyff.audit" in sys.modules, stats.__file__)
    yield pa.RecordBatch.from_pylist([{"_index_": 0, "words": found.value}])
"""

CELLS = (
    "from dyff.audit.analysis import AnalysisContext\nfrom dyff import stats\nctx = AnalysisContext()",
    "table = ctx.open_input_dataset('scored').to_table()\nfound = stats.proportion(table['right'], error=table['failed'])",
    "stats.score('accuracy', found, 'how often it is right', context=ctx)\nprint(found)",
)


@pytest.fixture
def analysis(tmp_path):
    return lambda **given: Analysis(tmp_path, datasets={"scored": pa.table(SCORED)}, scores=[SCORE], **given)


def intervals(run):
    """What is written next to the output."""
    return json.loads((run.result / ".dyff/estimates.json").read_text())["estimates"]


def test_a_function_stores_a_score_with_its_interval(analysis):
    """It needs the published package for nothing; what it imports is what the platform provides."""
    run = analysis(name="rates.accuracy", files={"rates.py": FUNCTION}).run().succeeded()
    [entry] = intervals(run)
    assert (entry["name"], entry["quantity"], entry["estimate"]) == ("accuracy", WANTED.value, WANTED.document())
    assert entry["text"] == f"how often it is right ({WANTED.interval()}; n = 3)"
    loaded, place = run.text.split()[-2:]
    assert loaded == "False"
    assert "/.dyff/packages/dyff/stats/" in place


def test_a_notebook_shows_and_stores_it(analysis):
    """The published context gets quantity and text, and its page shows them."""
    run = analysis(kind="JupyterNotebook", name="report.ipynb", files={"report.ipynb": notebook(*CELLS)}).run().succeeded()
    [score] = json.loads((run.result / ".dyff/scores.json").read_text())["scores"]
    [entry] = intervals(run)
    assert (score["quantity"], score["text"]) == (entry["quantity"], entry["text"])
    assert entry["estimate"] == WANTED.document()
    assert "95 % interval 0.09" in run.page


WRONG = {
    "twice": (
        "stats.score('accuracy', found, 'x')\n    stats.score('accuracy', found, 'x')",
        "output is 'accuracy', which was stored before",
    ),
    "a long text": ("stats.score('accuracy', found, 'x' * 281)", "text has 281 characters; give at most 280"),
    "NaN": ("stats.mean([float('nan')])", "values: row 0 is NaN"),
}


@pytest.mark.parametrize(("line", "message"), WRONG.values(), ids=WRONG)
def test_an_error_names_the_line_of_the_author(analysis, line, message):
    """Not one of the package."""
    code = FUNCTION.replace('stats.score("accuracy", found, "how often it is right")', line)
    failed = analysis(name="rates.accuracy", files={"rates.py": code}).run().failed()
    assert message in failed["message"]
    assert failed["line"]["file"] == "rates.py"


def test_a_module_of_the_author_may_share_the_name(analysis):
    """A folder `dyff` of a module, and the packages of the environment, do not hide it."""
    code = "from dyff.own import VALUE\nimport dyff.schema\n" + FUNCTION.replace("found.value", "VALUE")
    run = analysis(
        name="rates.accuracy",
        files={"rates.py": code, "dyff/own.py": "VALUE = 7.0"},
        schema=columns(_index_=pa.int64(), words=pa.float64()),
    )
    assert run.run().succeeded().rows == [{"_index_": 0, "words": 7.0}]


def test_without_a_run_it_says_where_it_works(monkeypatch):
    """On an author's own machine there is no output to store into."""
    monkeypatch.delenv("DYFF_AUDIT_ANALYSIS_CONFIG_FILE", raising=False)
    with pytest.raises(stats.Unfit, match=r"no method is running here, since DYFF_AUDIT_ANALYSIS_CONFIG_FILE is not set.*give context="):
        stats.score("accuracy", stats.mean([1, 2]), "x")
