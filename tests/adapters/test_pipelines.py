"""How a pipeline is checked, what it says about wrong items, and where it is stricter than the published one."""

from __future__ import annotations

import pytest

from dyff.adapters import pipelines
from dyff.kernel import errors

_COMPUTED = ("configuration", "a", "$compute", 0)


def _adapter(kind, configuration):
    return {"kind": kind, "configuration": configuration}


def _computed(steps):
    return _adapter("TransformJSON", {"a": {"$compute": steps}})


def refused(pipeline, location=("pipeline",)):
    """Location and message of each problem."""
    with pytest.raises(errors.InvalidFields) as caught:
        pipelines.build(pipeline, location)
    return [(problem.loc, problem.msg) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("adapter", "want_location", "want_words"),
    [
        ({"kind": "Explode"}, ("kind",), "known are Drop, ExplodeCollections"),
        ({"configuration": {}}, ("kind",), "known are"),
        ({"kind": "Drop", "config": {}}, ("config",), "known are kind, configuration"),
        (_adapter("Drop", []), ("configuration",), "object"),
        ({"kind": "Drop"}, ("configuration", "fields"), "list of field names"),
        (_adapter("Select", {"fields": "text"}), ("configuration", "fields"), "list of field names"),
        (_adapter("Select", {"fields": [], "extra": 1}), ("configuration", "extra"), "not known here"),
        (_adapter("Rename", {"a": 1}), ("configuration", "a"), "new name"),
        (_adapter("Rename", {"a": "b", "b": "a"}), ("configuration", "a"), "two Rename adapters"),
        (_adapter("Rename", {"a": "c", "b": "c"}), ("configuration",), "same new name"),
        (_adapter("FlattenHierarchy", {"depth": -1}), ("configuration", "depth"), "0 or more"),
        (_adapter("FlattenHierarchy", {"addPrefix": "yes"}), ("configuration", "addPrefix"), "true or false"),
        (_adapter("ExplodeCollections", {"collections": []}), ("configuration", "collections"), "at least one"),
        (_adapter("ExplodeCollections", {"collections": ["a"], "index": {"i": "$["}}), ("configuration", "index", "i"), "not a JSONPath"),
        (_adapter("ExplodeCollections", {"collections": ["a"], "index": {"i": 3}}), ("configuration", "index", "i"), "or null"),
        (_adapter("TransformJSON", {"a": {"b": "$.["}}), ("configuration", "a", "b"), "write $$.[ for the text"),
        (_adapter("TransformJSON", {"$a": 1}), ("configuration", "$a"), "write $$a"),
        (_adapter("TransformJSON", {"a": {"$compute": [], "b": 1}}), ("configuration", "a"), "no other key"),
        (_computed(["$.a"]), _COMPUTED, "$func"),
        (_computed({"$scalar": "a"}), (*_COMPUTED[:-1], "$scalar"), "$literal"),
        (_computed([{"$scalar": "$.a", "$list": "$.a"}]), _COMPUTED, "exactly one"),
        (_computed([{"$func": "lower"}]), (*_COMPUTED, "$func"), "known are findall"),
        (_computed([{"$func": "sub", "pattern": "a"}]), (*_COMPUTED, "repl"), "missing"),
        (_computed([{"$func": "sub", "pattern": "a", "repl": "\\2"}]), _COMPUTED, "sub cannot work"),
        (_computed([{"$func": "search", "pattern": "("}]), _COMPUTED, "search cannot work"),
        (_computed([{"$func": "search", "pattern": "a", "group": 1}]), _COMPUTED, "no group 1"),
        (_computed([{"$func": "list", "x": 1}]), (*_COMPUTED, "x"), "no parameter"),
        (_computed([{"$func": "split", "pattern": 3}]), (*_COMPUTED, "pattern"), "a string"),
        (_adapter("Map", {"collections": ["a"]}), ("configuration", "adapter"), "missing"),
        (_adapter("Map", {"collections": [], "adapter": {"kind": "No"}}), ("configuration", "adapter", "kind"), "no known"),
        (_adapter("Pipeline", {"adapters": [{"kind": "No"}]}), ("configuration", "adapters", 0, "kind"), "no known adapter"),
    ],
)  # fmt: skip
def test_wrong_configurations(adapter, want_location, want_words):
    """A wrong configuration is refused with the place in the request and words that say how to mend it."""
    [(location, message)] = refused([_adapter("Drop", {"fields": []}), adapter], ("body", "inputPipeline"))
    assert location == ("body", "inputPipeline", 1, *want_location)
    assert want_words in message


def test_every_wrong_adapter_is_named():
    """All wrong adapters of a pipeline are reported at once."""
    assert [location[1] for location, _ in refused([{"kind": "No"}, {"kind": "FlattenHierarchy"}, {"kind": "Drop"}])] == [0, 2]


def test_a_pipeline_is_a_list():
    """Something else than a list is refused, not iterated."""
    [(location, message)] = refused({"kind": "Drop"})
    assert location == ("pipeline",)
    assert "list" in message


def test_nesting_too_deep():
    """A configuration nested beyond what can be compiled is a wrong request, not a crash."""
    template = "$.a"
    for _ in range(5000):
        template = [template]
    [(location, message)] = refused([_adapter("TransformJSON", {"a": template})])
    assert location == ("pipeline", 0)
    assert "deep" in message


@pytest.mark.parametrize(
    ("adapter", "item", "want_words"),
    [
        (_adapter("TransformJSON", {"p": "$.text"}), {"q": 1}, "$.text must match exactly one value and matches nothing in {'q': 1}"),
        (_adapter("TransformJSON", {"p": "$.a[*]"}), {"a": [1, 2]}, "matches 2 values"),
        (_adapter("Select", {"fields": ["a"]}), {"b": 1}, "no field 'a'; it has 'b'"),
        (_adapter("Drop", {"fields": ["a"]}), [1], "must be an object"),
        (_adapter("ExplodeCollections", {"collections": ["a"]}), {"a": "text"}, "must be a list"),
        (_adapter("ExplodeCollections", {"collections": ["a", "b"]}), {"a": [1], "b": []}, "one length"),
        (_adapter("ExplodeCollections", {"collections": ["a"], "index": {"i": "$.a[*].rank"}}), {"a": [{"rank": 1}, {}]}, "'i' has 1"),
        (_adapter("Map", {"collections": ["a"], "adapter": _adapter("Select", {"fields": ["x"]})}), {"a": [{}]}, "no field 'x'"),
        (_computed([{"$scalar": "$.a"}, {"$func": "findall", "pattern": "x"}]), {"a": 1}, "expected string"),
    ],
)  # fmt: skip
def test_wrong_items(adapter, item, want_words):
    """An item that does not fit is refused with the adapter's place and kind and what is wrong with the item."""
    with pytest.raises(errors.FixRequest) as caught:
        list(
            pipelines.build([{"kind": "FlattenHierarchy"}, adapter])([item])
            if isinstance(item, dict) and "a" not in item
            else pipelines.build([adapter])([item])
        )
    assert f"({adapter['kind']})" in caught.value.message
    assert want_words in caught.value.message


def test_a_pipeline_within_a_pipeline():
    """The adapter Pipeline applies its adapters in order."""
    inner = [
        _adapter("ExplodeCollections", {"collections": ["text"]}),
        _adapter("Rename", {"text": "answer"}),
    ]
    run = pipelines.build([_adapter("Pipeline", {"adapters": inner})])
    assert list(run([{"text": ["a", "b"]}, {"text": ["c"]}])) == [{"answer": "a"}, {"answer": "b"}, {"answer": "c"}]


def test_a_configuration_can_be_compiled_twice():
    """Compiling does not change the configuration, so a second compilation gives the same pipeline."""
    pipeline = [_adapter("TransformJSON", {"a": {"$compute": [{"$scalar": "$.a"}, {"$func": "list"}]}})]
    assert list(pipelines.build(pipeline)([{"a": "xy"}])) == list(pipelines.build(pipeline)([{"a": "xy"}])) == [{"a": ["x", "y"]}]


def test_a_stream_is_read_lazily():
    """Items are taken from the stream one at a time, so an endless stream is fine."""

    def endless():
        number = 0
        while True:
            yield {"n": number}
            number += 1

    run = pipelines.build([_adapter("Rename", {"n": "m"})])(endless())
    assert [next(run) for _ in range(3)] == [{"m": 0}, {"m": 1}, {"m": 2}]
