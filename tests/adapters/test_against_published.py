"""Our adapters give what the published ones give, on the same configurations and items."""

from __future__ import annotations

import base64
import json
import warnings

import pytest
from dyff.schema import adapters as published
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dyff.adapters import pipelines, uploads
from dyff.kernel import errors

KEYS = ["a", "b", "c", "text", "_index_"]
scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "x", "alpha beta", "$a", "12-34"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3), max_leaves=8
)
items = st.dictionaries(st.sampled_from(KEYS), values, max_size=4)
queries = st.sampled_from(
    [
        "$",
        "$.a",
        "$.b",
        "$.text",
        "$.a.b",
        "$.a[0]",
        "$.a[-1]",
        "$.a[*]",
        "$.a[*].b",
        "$[*]",
        "$.*",
        "$['a'].c",
        "$..a",
        "$.a,b",
        "$.a[0:1]",
        "$._index_",
    ]
)

sources = st.one_of(
    values.filter(lambda value: value is not None).map(lambda value: {"$literal": value}),
    queries.map(lambda query: {"$scalar": query}),
    queries.map(lambda query: {"$list": query}),
    st.lists(queries.map(lambda query: {"$scalar": query}), max_size=2).map(lambda parts: {"$list": parts}),
)
functions = st.sampled_from(
    [
        {"$func": "findall", "pattern": "[a-z]+"},
        {"$func": "findall", "pattern": "([a-z])([a-z])", "flags": 2},
        {"$func": "join"},
        {"$func": "join", "separator": ", "},
        {"$func": "list"},
        {"$func": "reduce"},
        {"$func": "search", "pattern": "([0-9]+)-([0-9]+)", "group": 2},
        {"$func": "search", "pattern": "z", "default": "none"},
        {"$func": "search", "pattern": "alpha"},
        {"$func": "split", "pattern": "[ -]"},
        {"$func": "split", "pattern": "a", "maxsplit": 1},
        {"$func": "sub", "pattern": "a", "repl": "<\\g<0>>", "count": 1},
        {"$func": "sub", "pattern": "(?i)A", "repl": ""},
    ]
)
computations = st.tuples(sources, st.lists(functions, max_size=2)).map(lambda parts: {"$compute": [parts[0], *parts[1]]})
texts = st.sampled_from(["plain", "$$PATH", "$$", ""])
leaves = st.one_of(queries, texts, computations, st.integers(-3, 3), st.none(), st.booleans())
templates = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "text", "$$key", "n"]), inner, max_size=3),
    max_leaves=6,
)
names = st.lists(st.sampled_from(KEYS), max_size=3, unique=True)
lists_of_one_length = st.integers(0, 3).flatmap(
    lambda length: st.fixed_dictionaries(
        {"a": st.lists(values, min_size=length, max_size=length), "b": st.lists(values, min_size=length, max_size=length), "text": values}
    )
)


def outcome(run):
    """What came out, or None where the item was refused."""
    try:
        return list(run())
    except (errors.FixRequest, ValueError, TypeError, KeyError, AttributeError, AssertionError, IndexError):
        return None


def again(value):
    """The same JSON in new objects, none of them shared."""
    return json.loads(json.dumps(value))


def as_request(item):
    """An upload in one form for both; the published sender refuses a line's end in a media type, ours every control character."""
    if isinstance(item, uploads.Upload):
        return {"name": item.name, "file": (item.filename, item.content, item.content_type), "form": item.form_fields}
    if (upload := published.as_file_upload(item)) is None:
        return item
    if any(char < " " or char == "\x7f" for char in upload.content_type):
        raise ValueError("refused by the published sender, or by ours")
    return {"name": upload.name, "file": (upload.filename, upload.content, upload.content_type), "form": upload.form_fields}


def compare(pipeline, item):
    """Run both on `item`; ours must neither change its input nor differ. The published one changes its configuration: it gets a copy."""
    theirs = outcome(lambda: map(as_request, published.create_pipeline(again(pipeline))([again(item)])))
    before = again((pipeline, item))
    ours = outcome(lambda: map(as_request, pipelines.build(pipeline, upload=True)([item])))
    assert ours == theirs
    assert [pipeline, item] == before


@given(st.dictionaries(st.sampled_from(["a", "text", "$$key"]), templates, max_size=3), items)
@settings(max_examples=150, deadline=None)
def test_transform_json(configuration, item):
    """TransformJSON: queries, escapes and computations mean what is published."""
    compare([{"kind": "TransformJSON", "configuration": configuration}], item)


@given(computations, items)
@settings(max_examples=150, deadline=None)
def test_compute(template, item):
    """`$compute` sources and functions mean what is published."""
    compare([{"kind": "TransformJSON", "configuration": {"value": template}}], item)


@pytest.mark.parametrize(
    ("steps", "want"),
    [
        ([], None),
        ([{"$scalar": "$.a"}], "alpha 12-34"),
        ([{"$scalar": "$.a"}, {"$func": "search", "pattern": "([0-9]+)-([0-9]+)", "group": 2}], "34"),
        ([{"$scalar": "$.a"}, {"$func": "search", "pattern": "z", "default": "none"}], "none"),
        ([{"$scalar": "$.a"}, {"$func": "split", "pattern": " "}, {"$func": "join", "separator": "+"}], "alpha+12-34"),
        ([{"$list": [{"$scalar": "$.a"}, {"$literal": "!"}]}, {"$func": "reduce"}], "alpha 12-34!"),
    ],
)
def test_computations_as_people_write_them(steps, want):
    """Ordinary computations give what is published, also none at all."""
    pipeline = [{"kind": "TransformJSON", "configuration": {"value": {"$compute": steps}}}]
    compare(pipeline, {"a": "alpha 12-34"})
    assert list(pipelines.build(pipeline)([{"a": "alpha 12-34"}])) == [{"value": want}]


steps_of_queries = st.one_of(
    st.sampled_from(KEYS).map(lambda key: f".{key}"),
    st.sampled_from(KEYS).map(lambda key: f"['{key}']"),
    st.integers(-3, 3).map(lambda place: f"[{place}]"),
    st.sampled_from(
        ["[*]", ".*", "..a", "..*", "[0:2]", "[-2:]", "[::2]", "[0,1]", "['a','b']", ".`this`", ".`parent`", ".'*'", " | $.b", " where b"]
    ),
)


@given(st.lists(steps_of_queries, max_size=4).map(lambda steps: "$" + "".join(steps)), items)
@settings(max_examples=200, deadline=None)
def test_queries(query, item):
    """A JSONPath query finds what the published implementation finds, in the same order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the published one lets those of its library through
        compare([{"kind": "TransformJSON", "configuration": {"value": {"$compute": {"$list": query}}}}], item)


contents = st.one_of(st.binary(max_size=20).map(lambda data: base64.b64encode(data).decode()), st.text(max_size=10), values)
metadata = st.one_of(st.sampled_from(["x.png", "image/png", "$.text", "$.a", "$$x", "a\r\nb: c", 3, None]), computations)
uploads_of_files = st.fixed_dictionaries(
    {"field": st.sampled_from(["$.text", "text", "$.a", "$.a.b", "$"])},
    optional={
        "encoding": st.sampled_from(["base64", "binary", "utf-8", "json", "hex"]),
        "name": st.sampled_from(["file", "upload", "", 3]),
        "filename": metadata,
        "contentType": metadata,
        "formFields": st.dictionaries(st.sampled_from(["model", "$$key", "n", "$key"]), metadata | templates, max_size=2),
    },
)


def _looks_wrong(text):
    """Not base64: there the published implementation leaves out what it cannot read, and ours refuses."""
    try:
        return base64.b64decode(text) != base64.b64decode(text, validate=True)
    except ValueError:
        return True


def _is_no_base64(item, configuration):
    field = configuration["field"]
    query = field if field.startswith("$") else f"$.{field}"  # a template without the dollar would be a constant
    found = outcome(lambda: pipelines.build([{"kind": "TransformJSON", "configuration": {"x": query}}])([item]))
    return bool(found) and isinstance(found[0]["x"], str) and _looks_wrong(found[0]["x"])


@given(uploads_of_files, items, contents)
@example({"field": "text"}, {}, "{")
@example({"field": "$.text", "contentType": "$.text", "encoding": "utf-8"}, {}, "\x1f")
@settings(max_examples=200, deadline=None)
def test_file_upload(configuration, item, content):
    """FileUpload makes the published request of an item, or both refuse."""
    item = {**item, "text": content}
    if configuration.get("encoding", "base64") == "base64" and _is_no_base64(item, configuration):
        return
    compare([{"kind": "FileUpload", "configuration": configuration}], item)


@pytest.mark.parametrize(
    "configuration",
    [
        {"field": "$.text"},
        {"field": "$.image.data", "contentType": "$.image.mediaType", "filename": "image.png", "formFields": {"model": "$.model"}},
        {"field": "$", "encoding": "json", "name": "document", "formFields": {"n": 1, "x": True, "y": 1.5, "$$z": "$$z"}},
        {"field": "$.model", "encoding": "utf-8", "filename": {"$compute": [{"$scalar": "$.model"}, {"$func": "reduce"}]}},
        {"field": "$.text", "formFields": {"$compute": {"$scalar": "$.fields"}}},
        {"field": "$.text", "filename": 'quotes " and lines\n and ünï'},
    ],
)  # fmt: skip
def test_file_uploads_as_people_write_them(configuration):
    """Ordinary configurations of FileUpload make requests, and those are the published ones."""
    item = {"text": "aGVsbG8=", "model": "m", "image": {"data": "aGVs\nbG8=", "mediaType": "image/png"}, "fields": {"a": "b", "n": 2}}
    pipeline = [{"kind": "FileUpload", "configuration": configuration}]
    compare(pipeline, item)
    assert outcome(lambda: pipelines.build(pipeline, upload=True)([item])) is not None


@given(
    lists_of_one_length,
    st.sampled_from([["a"], ["a", "b"], ["b", "a"]]),
    st.sampled_from([{}, {"i": None}, {"text": None}, {"q": "$.a[*]", "i": None}]),
)
@settings(max_examples=60, deadline=None)
def test_explode_collections(item, collections, index):
    """ExplodeCollections zips the lists, repeats the rest and adds index fields."""
    compare([{"kind": "ExplodeCollections", "configuration": {"collections": collections, "index": index}}], item)


@given(names, items, st.sampled_from(["Drop", "Select"]))
@settings(max_examples=60, deadline=None)
def test_drop_and_select(fields, item, kind):
    """Drop tolerates absent fields and Select does not."""
    compare([{"kind": kind, "configuration": {"fields": fields}}], item)


@given(st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y", "text"]), max_size=2), items)
@settings(max_examples=60, deadline=None)
def test_rename(mapping, item):
    """Rename needs every old name; a field with a new name gives way."""
    if len(set(mapping.values())) == len(mapping):
        compare([{"kind": "Rename", "configuration": mapping}], item)


@given(
    st.sampled_from([None, [], ["a"], ["a", "text"]]),
    st.sampled_from([None, 0, 1, 2]),
    st.sampled_from([None, True, False]),
    items,
)
@settings(max_examples=80, deadline=None)
def test_flatten_hierarchy(fields, depth, prefix, item):
    """FlattenHierarchy opens objects down to the depth, and never lists."""
    configuration = {"fields": fields, "depth": depth, "addPrefix": prefix}
    compare(
        [{"kind": "FlattenHierarchy", "configuration": {key: value for key, value in configuration.items() if value is not None} or None}],
        item,
    )


@given(st.lists(items, max_size=3), st.sampled_from(["Drop", "Select", "ExplodeCollections"]))
@settings(max_examples=60, deadline=None)
def test_map(elements, kind):
    """Map applies an adapter to the elements of lists."""
    configuration = {"collections": ["a"]} if kind == "ExplodeCollections" else {"fields": ["a"]}
    adapter = {"kind": kind, "configuration": configuration}
    item = {"elements": elements, "n": 1}
    lists_only = kind != "ExplodeCollections" or all(isinstance(each.get("a"), list) for each in elements)
    if lists_only:
        compare([{"kind": "Map", "configuration": {"collections": ["elements"], "adapter": adapter}}], item)


@pytest.mark.parametrize(
    ("pipeline", "item"),
    [
        ([], {"a": 1}),
        ([{"kind": "TransformJSON", "configuration": {"prompt": "$.text"}}], {"_index_": 3, "text": "hello"}),
        ([{"kind": "ExplodeCollections", "configuration": {"collections": ["text"]}}], {"text": ["one", "two"]}),
        (
            [
                {"kind": "ExplodeCollections", "configuration": {"collections": ["choices"], "index": {"_response_index_": None}}},
                {"kind": "TransformJSON", "configuration": {"text": "$.choices.text", "_response_index_": "$._response_index_"}},
            ],
            {"id": "x", "choices": [{"text": "one", "index": 0}, {"text": "two", "index": 1}]},
        ),
        ([{"kind": "TransformJSON", "configuration": {"text": "$[0].generated_text"}}], [{"generated_text": "a list as answer"}]),
        (
            [
                {"kind": "ExplodeCollections", "configuration": {"collections": ["choices"], "index": {"rank": "$.choices[*].meta.rank"}}},
                {"kind": "FlattenHierarchy", "configuration": {"fields": ["choices"], "addPrefix": True}},
                {"kind": "Rename", "configuration": {"choices.label": "label"}},
                {"kind": "Drop", "configuration": {"fields": ["choices.meta.rank"]}},
            ],
            {"choices": [{"label": "foo", "meta": {"rank": 1}}, {"label": "bar", "meta": {"rank": 0}}]},
        ),
    ],
)
def test_pipelines(pipeline, item):
    """Pipelines of several adapters, as people write them, give the published results."""
    compare(pipeline, item)
    assert outcome(lambda: pipelines.build(pipeline)([item])) is not None


def _of(kind, configuration):
    return [{"kind": kind, "configuration": configuration}]


@pytest.mark.parametrize(
    ("pipeline", "item", "want_published", "want_ours"),
    [
        (_of("TransformJSON", {"a": {"$compute": {"$literal": None}}}), {}, None, [{"a": None}]),
        (
            _of("ExplodeCollections", {"collections": ["a"], "index": {"i": "$.b[*]"}}),
            {"a": [1, 2], "b": [3]},
            [{"a": 1, "b": [3], "i": 3}],
            None,
        ),
        (_of("Rename", {"a": "b", "b": "a"}), {"a": 1, "b": 2}, [{"a": 1}], None),
        (_of("Pipeline", {"adapters": _of("Drop", {"fields": ["a"]})}), {"a": 1}, None, [{}]),
        (
            _of("FileUpload", {"field": "$.a"}),
            {"a": "-_aGk="},
            [{"name": "file", "file": ("file", b"hi", "application/octet-stream"), "form": {}}],
            None,
        ),
    ],
)
def test_differences(pipeline, item, want_published, want_ours):
    """The differences that docs/compatibility.md lists are there, on both sides (None: refused)."""
    assert outcome(lambda: map(as_request, published.create_pipeline(again(pipeline))([again(item)]))) == want_published
    assert outcome(lambda: map(as_request, pipelines.build(pipeline, upload=True)([item]))) == want_ours


def test_only_the_adapter_makes_uploads():
    """An object with the key of the published marker is an object here, whatever made it."""
    marker = {"$$fileUpload": {"name": "f", "filename": "f", "contentType": "t", "content": "c", "formFields": {}}}
    [ours] = pipelines.build(_of("TransformJSON", marker), upload=True)([{}])
    assert list(ours) == ["$fileUpload"]
    with pytest.raises(ValueError, match="'content' must be bytes"):
        published.as_file_upload(ours)
