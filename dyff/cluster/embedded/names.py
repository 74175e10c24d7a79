"""Checks of names, labels and the rest of an object's metadata by Kubernetes' rules (RFC 1123). Pure."""

from __future__ import annotations

import re
from typing import Any

from dyff.cluster.embedded.kinds import LABEL_LENGTH, SUBDOMAIN_LENGTH
from dyff.cluster.embedded.problems import Found, Path, items, problem

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_PART = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_CONFIG_KEY = re.compile(r"[-._A-Za-z0-9]{1,253}")
_ANNOTATIONS_BYTES = 256 * 2**10


def is_label(text: Any) -> bool:
    """Whether it can be one label of a host name, as container and volume names must be."""
    return isinstance(text, str) and len(text) <= LABEL_LENGTH and _LABEL.fullmatch(text) is not None


def is_config_key(text: Any) -> bool:
    """Whether it can be a key of a ConfigMap, that is, a file name."""
    return isinstance(text, str) and _CONFIG_KEY.fullmatch(text) is not None and text not in (".", "..")


def metadata(value: dict[str, Any], name_length: int) -> Found:
    """The problems of an object's metadata. `name_length`: maximum length of its name."""
    path: Path = ("body", "metadata")
    name = value.get("name")
    if not name:
        yield problem((*path, "name"), "is missing")
    elif not isinstance(name, str) or len(name) > name_length or not _name_form(name_length).fullmatch(name):
        characters = "letters, digits and '-'" if name_length == LABEL_LENGTH else "letters, digits, '-' and '.'"
        yield problem((*path, "name"), f"must be at most {name_length} lower-case {characters}: {name!r} is not")
    yield from labels(value.get("labels", {}), (*path, "labels"))
    yield from _annotations(value.get("annotations", {}), (*path, "annotations"))
    yield from _finalizers(value.get("finalizers", []), (*path, "finalizers"))
    yield from _owners(value.get("ownerReferences", []), (*path, "ownerReferences"))


def labels(value: Any, path: Path) -> Found:
    """The problems of labels, or of the selector of a Service."""
    if not isinstance(value, dict):
        yield problem(path, "must be an object of texts")
        return
    for key, text in value.items():
        yield from _key(key, path)
        if not isinstance(text, str) or len(text) > LABEL_LENGTH or (text and not _PART.fullmatch(text)):
            yield problem(
                (*path, key),
                f"must be at most {LABEL_LENGTH} letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
            )


def _name_form(name_length: int) -> re.Pattern[str]:
    """The pattern for names of this maximum length. Short names become labels of host names, so they have no dots."""
    return _LABEL if name_length == LABEL_LENGTH else _SUBDOMAIN


def _annotations(value: Any, path: Path) -> Found:
    if not isinstance(value, dict):
        yield problem(path, "must be an object of texts")
        return
    for key, text in value.items():
        yield from _key(key, path)
        if not isinstance(text, str):
            yield problem((*path, key), "must be a text")
    if sum(len(key) + len(str(text)) for key, text in value.items()) > _ANNOTATIONS_BYTES:
        yield problem(path, f"must have at most {_ANNOTATIONS_BYTES} bytes")


def _finalizers(value: Any, path: Path) -> Found:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        yield problem(path, "must be a list of texts")
        return
    for each in value:
        if "/" not in each:
            yield problem(path, f"must have a domain, as in example.com/name: {each!r} has none")
        yield from _key(each, path)


def _owners(value: Any, path: Path) -> Found:
    if not isinstance(value, list):
        yield problem(path, "must be a list")
        return
    for owner, at in items(value, path):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not isinstance(owner.get(field), str) or not owner[field]:
                yield problem((*at, field), "is missing")
    if sum(owner.get("controller") is True for owner, _ in items(value, path)) > 1:
        yield problem(path, "must name at most one controller")


def _key(key: str, path: Path) -> Found:
    prefix, slash, name = key.rpartition("/")
    prefixed = bool(_SUBDOMAIN.fullmatch(prefix)) and len(prefix) <= SUBDOMAIN_LENGTH
    if (slash and not prefixed) or len(name) > LABEL_LENGTH or not _PART.fullmatch(name):
        yield problem((*path, key), "has a key that is not a name, with or without a domain, as in example.com/name")
