"""Requests that could never work are refused when they are made, as a table: one field of a valid body is changed."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from dyff.entities import data, labels, registry
from tests.entities import bodies
from tests.narrowing import sure

GIT = {**bodies.MODEL_MOCK, "artifact": {"kind": "Volume"}, "source": {"kind": "GitLFS", "gitLFS": {"url": "https://example.org/m.git"}}}
GIT["artifact"] = {"kind": "HuggingFaceCache", "huggingFaceCache": {"repoID": "org/name", "revision": "abc"}}
URL = "source.gitLFS.url"
MOUNTS = "runner.volumeMounts.0"
MANY = {"x": "y" * data.MAX_FREE_JSON_BYTES}

REFUSED: dict[str, tuple[str, dict[str, Any], str, Any, str]] = {
    "a repository that is not on the web": ("Model", GIT, URL, "ssh://example.org/m", "url must begin with https:// or http://"),
    "a file": ("Model", GIT, URL, "file:///etc", "regex"),
    "a password, which all readers would see": ("Model", GIT, URL, "https://me:secret@example.org/m", "must not have a user or a password"),
    "a user": ("Model", GIT, URL, "https://token@example.org", "must not have a user or a password"),
    "a query": ("Model", GIT, URL, "https://example.org/m?token=1", "without '?' and '#'"),
    "a fragment": ("Model", GIT, URL, "https://example.org/m#v1", "without '?' and '#'"),
    "a source that nothing fetches": (
        "Model", bodies.MODEL_MOCK, "source", {"kind": "OpenLLM", "openLLM": {"modelKind": "a", "modelID": "b", "modelVersion": "c"}},
        "OpenLLM is not supported; use HuggingFaceHub",
    ),
    "a source without its field": ("Model", bodies.MODEL_HUB, "source.huggingFaceHub", ..., "needs huggingFaceHub and nothing else"),
    "a source with a field of another": ("Model", bodies.MODEL_MOCK, "source.gitLFS", {"url": "https://x.org"}, "must not have gitLFS"),
    "fetched files with no layout": ("Model", bodies.MODEL_HUB, "artifact", {"kind": "Mock"}, "must be HuggingFaceCache or Volume"),
    "the cache of another model": (
        "Model", bodies.MODEL_HUB, "artifact.huggingFaceCache.repoID", "org/other", "repoID must be that of the source, org/name",
    ),
    "an upload of nothing": ("Model", bodies.MODEL_UPLOAD, "artifact", {"kind": "Mock"}, "needs artifact.kind Volume with the list of"),
    "an upload of no file": ("Model", bodies.MODEL_UPLOAD, "artifact.volume.files", [], "needs artifact.kind Volume with the list of"),
    "an upload of a file without a digest": ("Model", bodies.MODEL_UPLOAD, "artifact.volume.files.0.digest", {}, "'config.json' needs"),
    "a digest in hex": ("Dataset", bodies.DATASET, "artifacts.0.digest.md5", "d41d8cd98f00b204e9800998ecf8427e", "(not hex)"),
    "a digest of other bytes": ("Dataset", bodies.DATASET, "artifacts.0.digest.md5", "AAAA", "must be the base64 of the 16 bytes"),
    "a digest that is no base64": ("Dataset", bodies.DATASET, "artifacts.0.digest.md5", "1B2M2Y8AsgTpgAmY7PhCf", "must be the base64"),
    "a dataset's file without a digest": ("Dataset", bodies.DATASET, "artifacts.0.digest", {}, "'part-0.parquet' needs digest.md5"),
    "free JSON without a bound": ("Dataset", bodies.DATASET_FULL, "schema.jsonSchema", MANY, "jsonSchema must have at most 1048576 bytes"),
    "the image of Dyff's own steps": (
        "InferenceService", bodies.SERVICE, "runner.image.name", "dyff/workflows/steps", "is the image of Dyff's own steps",
    ),
    "the same, with a part of the name as the host": (
        "InferenceService", bodies.SERVICE, "runner.image", {**bodies.IMAGE, "host": "dyff", "name": "workflows/steps"},
        "is the image of Dyff's own steps",
    ),
    "an image that is a model": (
        "InferenceService", bodies.SERVICE, "runner", {"kind": "vllm", "resources": {}, "imageRef": {"kind": "Model", "id": "x"}},
        "imageRef.kind must be OCIArtifact, which a Model is not",
    ),
    "no image": ("InferenceService", bodies.SERVICE, "runner.image", ..., "exactly one of image and imageRef"),
    "no runner": ("InferenceService", bodies.SERVICE, "runner", ..., "runner must be given"),
    "a variable that loads code": (
        "InferenceService", bodies.SERVICE_FULL, "runner.env.0.name", "LD_PRELOAD", "LD_PRELOAD",
    ),
    "a mount of what has no files": (
        "InferenceService", bodies.SERVICE_FULL, f"{MOUNTS}.data.source.kind", "Evaluation", "source.kind must be Model or Dataset",
    ),
    "a mount of another kind": ("InferenceService", bodies.SERVICE_FULL, f"{MOUNTS}.kind", "Scratch", "one of kind Scratch needs scratch"),
    **{
        f"a mount at {path!r}": ("InferenceService", bodies.SERVICE_FULL, f"{MOUNTS}.mountPath", path, "must be an absolute path below /")
        for path in ("", "/", "//", "data", "/a/../etc", "/./a", "/a\0b")
    },
    "no session": ("Evaluation", bodies.EVALUATION, "inferenceSession", ..., "exactly one of inferenceSession and"),
    "two sessions": ("Evaluation", bodies.EVALUATION, "inferenceSessionReference", "x", "exactly one of inferenceSession and"),
}  # fmt: skip


def decoded(kind: str, body: dict[str, Any]) -> Any:
    return msgspec.json.decode(json.dumps(body), type=sure(registry.BY_KIND[kind].creation).request)


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_never_work_is_refused(case):
    """The message names the field and what would be right; the body is valid without the change."""
    kind, body, path, value, words = REFUSED[case]
    decoded(kind, body)
    with pytest.raises(msgspec.ValidationError) as caught:
        decoded(kind, bodies.changed(body, path, value))
    assert words in str(caught.value)


ALLOWED: dict[str, tuple[str, dict[str, Any], str, Any]] = {
    "upper case": ("Model", GIT, URL, "HTTPS://example.org/m"),
    "a port, and an @ in the path": ("Model", GIT, URL, "http://example.org:8080/@me/m"),
    "the root of a host": ("Model", GIT, URL, "https://example.org"),
    "a model in a volume": ("Model", bodies.MODEL_HUB, "artifact", {"kind": "Volume", "volume": {"files": []}}),
    "a name that only looks similar": ("InferenceService", bodies.SERVICE, "runner.image.name", "dyff/workflows/steps2"),
    "a dataset that is mounted": ("InferenceService", bodies.SERVICE_FULL, f"{MOUNTS}.data.source.kind", "Dataset"),
    "dots in a name of a mount's path": ("InferenceService", bodies.SERVICE_FULL, f"{MOUNTS}.mountPath", "//a/..b/"),
    "an image that is an entity": (
        "InferenceService", bodies.SERVICE, "runner", {"kind": "vllm", "resources": {}, "imageRef": {"kind": "OCIArtifact", "id": "x"}},
    ),
    "free JSON up to its bound": (
        "Dataset", bodies.DATASET, "schema.jsonSchema", {"x": "y" * (data.MAX_FREE_JSON_BYTES - len('{"x":""}'))},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ALLOWED)
def test_what_only_looks_wrong_is_allowed(case):
    """Rules are no stricter than they need to be."""
    kind, body, path, value = ALLOWED[case]
    decoded(kind, bodies.changed(body, path, value))


ACCESS = "dyff.io/access"
CONCERN = f"usecases.dyff.io/{'0' * 32}"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("team", "a", None), ("example.org/team", None, None), ("notdyff.io/x", "a", None), ("dyff.io.example.org/x", "a", None),
        (ACCESS, "public", None), (ACCESS, "internal", None), (ACCESS, None, None),
        (ACCESS, "private", "must be 'public', 'internal' (preview) or null (private)"),
        (CONCERN, "1", None), (CONCERN, None, None), (CONCERN, "2", "is reserved"), (f"{CONCERN}0", "1", "is reserved"),
        ("dyff.io/other", "a", "is reserved, as all keys of dyff.io are"), ("x.dyff.io/other", None, "choose a prefix of your own"),
    ],
)  # fmt: skip
def test_which_labels_users_may_set(key, value, words):
    """All but those of dyff.io; of these, access, and the concerns that an entity belongs to."""
    body = json.dumps({"labels": {key: value}})
    if words is None:
        assert msgspec.json.decode(body, type=labels.LabelsEditRequest).labels == {key: value}
        return
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(body, type=labels.LabelsEditRequest)
    assert words in str(caught.value)


def numbered(count, value="a"):
    return {f"label-{number}": value for number in range(count)}


@pytest.mark.parametrize(
    ("before", "change", "want"),
    [
        ({}, numbered(64), None),
        (numbered(64), numbered(64, "b"), None),
        (numbered(64), {**numbered(64, None), **{f"new-{number}": "a" for number in range(64)}}, None),
        (numbered(70), {"label-0": "b"}, None),
        (numbered(70), {"label-0": None, "new": "a"}, None),
        (numbered(64), {"new": "a"}, 65),
        (numbered(70), {"new": "a"}, 71),
        ({}, numbered(65), 65),
    ],
    ids=["full", "changed", "all replaced", "older and larger", "older, one for one", "one more", "older, one more", "too many"],
)
def test_the_number_of_labels_is_bounded(before, change, want):
    """What is removed makes room, and an entity that has more from before can still be edited."""
    problem = labels.problem(before, change)
    assert problem == (want and f"an entity can have at most 64 labels; this would make {want}: remove some (null removes one)")
