"""How a pipeline is checked, what it says about wrong items, and where it is stricter than the published one."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
from dyff.schema import adapters as published

from dyff.adapters import pipelines, uploads
from dyff.kernel import errors
from tests.narrowing import sure

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
        ("Drop", (), "an object with the keys kind, configuration"),
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
        (_adapter("ExplodeCollections", {"collections": ["a"], "index": ["i"]}), ("configuration", "index"), "from new field names"),
        (_adapter("TransformJSON", {"a": {"b": "$.["}}), ("configuration", "a", "b"), "write $$.[ for the text"),
        (_adapter("TransformJSON", {"$a": 1}), ("configuration", "$a"), "write $$a"),
        (_adapter("TransformJSON", {"a": {"$compute": [], "b": 1}}), ("configuration", "a"), "no key other than"),
        (_computed(["$.a"]), _COMPUTED, "$func"),
        (_computed({"$scalar": "a"}), (*_COMPUTED[:-1], "$scalar"), "$literal"),
        (_computed([{"$scalar": "$.a", "$list": "$.a"}]), _COMPUTED, "exactly one"),
        (_computed([{"$func": "lower"}]), (*_COMPUTED, "$func"), "known are findall"),
        (_computed([{"$func": "sub", "pattern": "a"}]), (*_COMPUTED, "repl"), "missing"),
        (_computed([{"$func": "sub", "pattern": "a", "repl": "\\2"}]), _COMPUTED, "sub cannot work"),
        (_computed([{"$func": "search", "pattern": "("}]), _COMPUTED, "search cannot work"),
        (_computed([{"$func": "search", "pattern": "a", "group": 1}]), _COMPUTED, "no group 1"),
        (_computed([{"$func": "list", "x": 1}]), (*_COMPUTED, "x"), "no parameter"),
        (_computed([{"$func": "sub", "pattern": "a", "repl": "", "count": 2**40}]), _COMPUTED, "too large"),
        (_computed([{"$func": "search", "pattern": "a", "flags": int(re.DEBUG)}]), _COMPUTED, "the flags may be a sum of"),
        (_computed([{"$func": "search", "pattern": "a" * 1001}]), _COMPUTED, "longer than 1000"),
        (_computed([{"$scalar": "$.a & $.b"}]), (*_COMPUTED, "$scalar"), "but not evaluated"),
        (_computed([{"$list": "$..a..b..c..d"}]), (*_COMPUTED, "$list"), "more than 3 times"),
        (_computed([{"$list": "$.a[::0]"}]), (*_COMPUTED, "$list"), "step 0"),
        (_computed([{"$list": "$." + "a" * 1000}]), (*_COMPUTED, "$list"), "longer than 1000"),
        (_computed([{"$list": "$.a[?(@.b > 1)]"}]), (*_COMPUTED, "$list"), "not a JSONPath"),
        (_computed([{"$func": "split", "pattern": 3}]), (*_COMPUTED, "pattern"), "a string"),
        (_adapter("FileUpload", {}), ("configuration", "field"), "missing"),
        (_adapter("FileUpload", {"field": 1}), ("configuration", "field"), "JSONPath"),
        (_adapter("FileUpload", {"field": "$["}), ("configuration", "field"), "not a JSONPath"),
        (_adapter("FileUpload", {"field": "$.a", "file": 1}), ("configuration", "file"), "known are field, encoding"),
        (_adapter("FileUpload", {"field": "$.a", "encoding": "hex"}), ("configuration", "encoding"), "base64, binary, utf-8, json"),
        (_adapter("FileUpload", {"field": "$.a", "encoding": ["json"]}), ("configuration", "encoding"), "must be one of"),
        (_adapter("FileUpload", {"field": "$.a", "name": None}), ("configuration", "name"), "a string"),
        (_adapter("FileUpload", {"field": "$.a", "filename": 3}), ("configuration", "filename"), "a string"),
        (_adapter("FileUpload", {"field": "$.a", "contentType": "a\r\nb: c"}), ("configuration", "contentType"), "image/png"),
        (_adapter("FileUpload", {"field": "$.a", "contentType": "$["}), ("configuration", "contentType"), "not a JSONPath"),
        (_adapter("FileUpload", {"field": "$.a", "formFields": None}), ("configuration", "formFields"), "an object"),
        (_adapter("FileUpload", {"field": "$.a", "formFields": {"x": None}}), ("configuration", "formFields", "x"), "a number or"),
        (_adapter("FileUpload", {"field": "$.a", "formFields": {"x": {"y": "$.b"}}}), ("configuration", "formFields", "x"), "must be text"),
        (_adapter("FileUpload", {"field": "$.a", "formFields": {"$x": "y"}}), ("configuration", "formFields", "$x"), "write $$x"),
        (_adapter("Map", {"collections": ["a"]}), ("configuration", "adapter"), "missing"),
        (_adapter("Map", {"collections": [], "adapter": {"kind": "No"}}), ("configuration", "adapter", "kind"), "no known"),
        (_adapter("Pipeline", {}), ("configuration", "adapters"), "give a list of adapters"),
        (_adapter("Pipeline", {"adapters": [{"kind": "No"}]}), ("configuration", "adapters", 0, "kind"), "no known adapter"),
    ],
)  # fmt: skip
def test_wrong_configurations(adapter, want_location, want_words):
    """A wrong configuration is refused with the place in the request and words that say how to fix it."""
    [(location, message)] = refused([_adapter("Drop", {"fields": []}), adapter], ("body", "inputPipeline"))
    assert want_location[:1] != ("configuration",) or want_location == ("configuration",) or "(in " in message
    assert location == ("body", "inputPipeline", 1, *want_location)
    assert want_words in message


_UPLOAD = _adapter("FileUpload", {"field": "$.a"})


@pytest.mark.parametrize(
    ("pipeline", "want_locations"),
    [
        ([_UPLOAD, _adapter("Drop", {"fields": []})], [(0, "kind")]),
        ([_UPLOAD, _UPLOAD], [(0, "kind")]),
        ([_adapter("Map", {"collections": ["a"], "adapter": _UPLOAD})], [(0, "configuration", "adapter", "kind")]),
        ([_adapter("Pipeline", {"adapters": [_UPLOAD, _UPLOAD]})], [(0, "configuration", "adapters", 0, "kind")]),
        ([_adapter("Pipeline", {"adapters": [_UPLOAD]}), _UPLOAD], [(0, "configuration", "adapters", 0, "kind")]),
        (
            [_adapter("Map", {"collections": ["a"], "adapter": _adapter("Pipeline", {"adapters": [_UPLOAD]})})],
            [(0, "configuration", "adapter", "configuration", "adapters", 0, "kind")],
        ),
    ],
)
def test_uploads_only_at_the_end(pipeline, want_locations):
    """FileUpload may be the last adapter of what makes requests, and is named where it is anything else."""
    with pytest.raises(errors.InvalidFields) as caught:
        pipelines.build(pipeline, upload=True)
    assert [problem.loc for problem in caught.value.problems] == [("pipeline", *each) for each in want_locations]
    assert all("the last adapter of a service's interface.inputPipeline" in problem.msg for problem in caught.value.problems)


@pytest.mark.parametrize("adapter", [_UPLOAD, _adapter("Pipeline", {"adapters": [_UPLOAD]})])
def test_uploads_only_where_requests_are_made(adapter):
    """At the end of a service's input pipeline FileUpload is right; at the end of any other pipeline it is refused."""
    [upload] = pipelines.build([_adapter("Drop", {"fields": []}), adapter], upload=True)([{"a": "aGk="}])
    assert upload == uploads.Upload("file", "file", "application/octet-stream", b"hi", {})
    [(location, _)] = refused([_adapter("Drop", {"fields": []}), adapter])
    assert (location[1], location[-1]) == (1, "kind")


@pytest.mark.parametrize("encoding", ["base64", "binary"])
@pytest.mark.parametrize("content", [b"\x00\xff", bytearray(b"ab"), memoryview(b"ab")])
def test_bytes_are_uploaded_as_they_are(encoding, content):
    """A caller of the SDK may give bytes; with base64, too, they are not decoded again."""
    configuration = {"field": "$.a", "encoding": encoding}
    [upload] = pipelines.build([_adapter("FileUpload", configuration)], upload=True)([{"a": content}])
    assert upload.content == bytes(content)
    steps: Any = published  # its names do not say that it has this one
    [published_upload] = steps.FileUpload(configuration)([{"a": content}])
    assert sure(published.as_file_upload(published_upload)).content == upload.content


@pytest.mark.parametrize(
    ("configuration", "item", "want_words"),
    [
        ({"field": "$.a"}, {"a": "aGVsbG8"}, "not base64: Incorrect padding"),
        ({"field": "$.a"}, {"a": "data:image/png;base64,aGk="}, "not base64"),
        ({"field": "$.a"}, {"a": "ä"}, "not base64"),
        ({"field": "$.a"}, {"a": 3}, "must be bytes"),
        ({"field": "$.a", "encoding": "binary"}, {"a": "aGk="}, "use encoding base64"),
        ({"field": "$.a", "encoding": "utf-8"}, {"a": b"x"}, "must be text with encoding utf-8"),
        ({"field": "$.a", "encoding": "json"}, {"a": float("nan")}, "not JSON compliant"),
        ({"field": "$.a", "contentType": "$.t"}, {"a": "", "t": "a\r\nX-Evil: 1"}, "contentType must be a media type"),
        ({"field": "$.a", "filename": "$.t"}, {"a": "", "t": None}, "filename must be text"),
        ({"field": "$.a", "filename": "$.t"}, {"a": "", "t": "\ud800"}, "filename must be text"),
        ({"field": "$.a", "formFields": {"x": "$.t"}}, {"a": "", "t": [1]}, "the form field 'x'"),
        ({"field": "$.a", "formFields": {"$compute": {"$scalar": "$.t"}}}, {"a": "", "t": 1}, "formFields must be an object"),
        ({"field": "$.b"}, {"a": ""}, "matches nothing"),
    ],
)  # fmt: skip
def test_items_that_cannot_be_uploaded(configuration, item, want_words):
    """An item of which no upload can be made is refused with the reason, and never sent half or altered."""
    with pytest.raises(errors.FixRequest) as caught:
        list(pipelines.build([_adapter("FileUpload", configuration)], upload=True)([item]))
    assert "adapter 0 (FileUpload): " in caught.value.message
    assert want_words in caught.value.message


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
    template: Any = "$.a"
    for _ in range(700):
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
        (_adapter("Rename", {"a": "c", "b": "d"}), {"a": 1, "x": 2}, "no field 'b'; it has 'a', 'x'"),
        (_adapter("ExplodeCollections", {"collections": ["c"]}), {"a": [1]}, "no field 'c'; it has 'a'"),
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


@pytest.mark.parametrize(
    ("pipeline", "want_words"),
    [
        ([_adapter("Drop", {"fields": ["a"] * 1001})], "values"),
        ([_adapter("TransformJSON", {"a": "x" * 33_000})], "characters"),
        ([_computed([{"$scalar": "$.a"}, *[{"$func": "findall", "pattern": "a" * 900}] * 3])], "characters in patterns"),
        ([_computed([{"$scalar": "$.a"}, {"$func": "findall", "pattern": "[a]" * 51}])], "sets [...]"),
    ],
)
def test_the_size_of_a_pipeline_is_bounded(pipeline, want_words):
    """A pipeline whose compilation could take long is refused before it is compiled."""
    [(location, message)] = refused(pipeline)
    assert location == ("pipeline",)
    assert want_words in message
    assert "at most" in message


def test_compiling_runs_no_pattern():
    """A pattern that needs hours even on an empty text is compiled at once, and its replacement is checked all the same."""
    slow = {"$func": "sub", "pattern": "(?P<x>(?:(?:(?:|){3000}){3000}){3000})"}
    program = f"""
from dyff.adapters import pipelines
from dyff.kernel import errors

def build(repl):
    step = {{**{slow!r}, "repl": repl}}
    pipelines.build([{{"kind": "TransformJSON", "configuration": {{"a": {{"$compute": [step]}}}}}}])

build("\\\\g<x>")
try:
    build("\\\\2")
except errors.InvalidFields as error:
    print(error.problems[0].msg)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert "invalid group reference 2" in done.stdout


def test_a_stream_is_read_lazily():
    """Items are taken from the stream one at a time, so an endless stream is fine."""

    def endless():
        number = 0
        while True:
            yield {"n": number}
            number += 1

    run = pipelines.build([_adapter("Rename", {"n": "m"})])(endless())
    assert [next(run) for _ in range(3)] == [{"m": 0}, {"m": 1}, {"m": 2}]
