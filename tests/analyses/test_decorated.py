"""Functions with the decorator of the published package dyff-schema, as it is in the environment of analyses."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.analyses.runs import Analysis

DATA = pa.table({"_index_": [0, 1], "text": ["a b c", "d"]})
DECORATED = """
from collections.abc import Iterable
from typing import Annotated

import pyarrow as pa
import pyarrow.dataset
import pydantic
from dyff.schema.annotations import Input, Output, method
from dyff.schema.platform import Dataset, Measurement, MeasurementLevel, MethodScope

SCHEMA = pa.schema([("_index_", pa.int64()), ("words", pa.float64())])


class Row(pydantic.BaseModel):
    words: float


@method(scope=MethodScope.Evaluation, description="Counts words.")
def mean_word_length(
    times: str, data: Annotated[pyarrow.dataset.Dataset, Input(Dataset)]
) -> Annotated[Iterable[pa.RecordBatch], Output(Measurement, schema=Row, level=MeasurementLevel.Instance)]:
    for batch in data.to_batches():
        rows = [{"_index_": row["_index_"], "words": float(times) * len(row["text"].split())} for row in batch.to_pylist()]
        yield pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
"""


@pytest.fixture
def analysis(tmp_path):
    """Makes an analysis with the decorated function."""

    def make(text=DECORATED, **more):
        return Analysis(tmp_path, **{"files": {"word_length.py": text}, "datasets": {"data": DATA}, **more})

    return make


def test_each_argument_is_a_keyword(analysis):
    """A decorated function gets its parameters as it declares them, not one dict."""
    run = analysis(arguments={"times": "2"}).run()
    run.succeeded()
    assert run.rows == [{"_index_": 0, "words": 6.0}, {"_index_": 1, "words": 2.0}]


def test_an_argument_that_it_does_not_declare_is_an_error(analysis):
    """The message is Python's own, which names the parameter."""
    outcome = analysis(arguments={"time": "2"}).run().outcome
    assert outcome["status"] == "Failed"
    assert "'time'" in outcome["message"]


def test_what_it_raises_has_the_authors_line(analysis):
    """The decorator's own frames are not the author's code."""
    outcome = analysis(arguments={"times": "many"}).run().outcome
    assert (outcome["line"]["file"], outcome["line"]["text"][:6]) == ("word_length.py", "rows =")
    assert "could not convert string to float" in outcome["message"]
