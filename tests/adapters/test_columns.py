"""Which columns of a dataset a pipeline uses."""

from __future__ import annotations

import contextlib
from typing import Any

import pyarrow as pa
import pytest

from dyff.adapters import pipelines
from dyff.kernel import errors
from dyff.workflows import rows

SCHEMA = pa.schema({name: pa.string() for name in ("_index_", "a", "b", "c", "bad")})
ALL = set(SCHEMA.names)


def step(kind, **configuration):
    return {"kind": kind, "configuration": configuration}


TRANSFORM = step("TransformJSON", x="$.a")
CASES = {
    "no pipeline": ([], ALL),
    "a query": ([TRANSFORM], {"a"}),
    "deep and indexed queries": ([step("TransformJSON", x=["$.a.b[0].c", {"y": "$.b[*].z"}], z="$$.c")], {"a", "b"}),
    "a query in brackets": ([step("TransformJSON", x="$['a']")], {"a"}),
    "a query of everything": ([step("TransformJSON", x="$")], ALL),
    "a descent": ([step("TransformJSON", x="$..a")], ALL),
    "a wildcard": ([step("TransformJSON", x={"$compute": [{"$list": "$.*"}]})], ALL),
    "a computation": ([step("TransformJSON", x={"$compute": [{"$scalar": "$.a"}, {"$func": "sub", "pattern": "x", "repl": "y"}]})], {"a"}),
    "literals only": ([step("TransformJSON", x="hello")], set()),
    "a selection": ([step("Select", fields=["a", "b"])], {"a", "b"}),
    "queries after a selection": ([step("Select", fields=["a"]), TRANSFORM], {"a"}),
    "a drop": ([step("Drop", fields=["bad", "nowhere"])], ALL - {"bad"}),
    "a query of what was dropped": ([step("Drop", fields=["a"]), step("TransformJSON", x="$")], ALL - {"a"}),
    "a renaming": ([step("Rename", a="b"), step("TransformJSON", x="$.b")], {"a"}),
    "a renaming that is not used later": ([step("Rename", a="z"), step("TransformJSON", x="$.b")], {"a", "b"}),
    "the rest after a renaming": ([step("Rename", a="z"), step("Drop", fields=["bad"])], ALL - {"bad"}),
    "collections": ([step("ExplodeCollections", collections=["a"], index={"i": None}), step("Select", fields=["b", "i"])], {"a", "b"}),
    "an index of collections": ([step("ExplodeCollections", collections=["a"], index={"i": "$.c[*]"}), TRANSFORM], {"a", "c"}),
    "a map": ([step("Map", collections=["b"], adapter=step("Drop", fields=["a"])), TRANSFORM], {"a", "b"}),
    "a flattening": ([step("Drop", fields=["bad"]), step("FlattenHierarchy"), TRANSFORM], ALL - {"bad"}),
    "an upload": ([step("FileUpload", field="$.a", filename="$.b", formFields={"n": {"$compute": [{"$scalar": "$.c"}]}})], {"a", "b", "c"}),
    "an upload whose query has no dollar": ([step("FileUpload", field="a")], {"a"}),
    "a literal that is no query": ([step("TransformJSON", x={"$compute": [{"$literal": "$["}]})], ALL),
    "a pipeline inside": ([step("Pipeline", adapters=[step("Drop", fields=["bad"]), TRANSFORM])], {"a"}),
    "one that does not exist, among all": ([step("TransformJSON", x="$.nowhere")], ALL),
    "several transformations": ([TRANSFORM, step("TransformJSON", y="$.b")], {"a"}),
}


@pytest.mark.parametrize("case", CASES)
def test_only_what_a_pipeline_uses_is_converted(case):
    """Of each pipeline it is known which columns it can reach, and the pipeline gives the same with only those."""
    pipeline, want = CASES[case]
    names = rows.wanted(SCHEMA, pipeline)
    assert set(names) == want
    assert names == [name for name in SCHEMA.names if name in want]
    run = pipelines.build(pipeline, upload=True)
    results: list[tuple[dict[str, Any], list[Any]]] = []
    for item in ITEMS:
        with contextlib.suppress(errors.FixRequest):
            results.append((item, list(run([item]))))
    assert results or case in ("one that does not exist, among all", "several transformations", "a descent")
    for item, result in results:
        assert list(run([{name: item[name] for name in names}])) == result


ITEMS: list[dict[str, Any]] = [
    dict.fromkeys(SCHEMA.names, "YWI="), {name: [{"a": name}] for name in SCHEMA.names},
    {name: {"b": [{"c": name, "z": 1}]} for name in SCHEMA.names},
    {**dict.fromkeys(SCHEMA.names, "x"), "b": [{"z": 1}], "a": {"b": [{"c": 1}]}},
]  # fmt: skip
"""Each pipeline fits one of them."""
