"""The built console: the files in `dyff/api/console/`, which `make console` makes from `console/` (ADR 48). They are read once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

import msgspec

from dyff.api.pages import rendering

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "frame-src 'self'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)
"""Of the page. `svelte-trusted-html`: the compiler's own templates, which have no data in them; nothing else can become HTML."""

HEADERS = (("content-security-policy", POLICY), *rendering.COMMON, rendering.OPENER)
INDEX = "index.html"
_TYPES = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml", "txt": "text/plain"}


class File(msgspec.Struct, frozen=True):
    """A file of the console. `media_type`: with its charset, if it is text. `tag`: its entity tag."""

    body: bytes
    media_type: str
    tag: str


@cache
def files() -> dict[str, File]:
    """All files by path: `index.html`, and those below `assets/`, whose names change with their content."""
    return {path: _file(path, body) for path, body in _read(resources.files("dyff.api").joinpath("console"), "")}


def _read(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for each in sorted(folder.iterdir(), key=lambda found: found.name):
        if each.is_dir():
            yield from _read(each, f"{prefix}{each.name}/")
        else:
            yield prefix + each.name, each.read_bytes()


def _file(path: str, body: bytes) -> File:
    return File(body, f"{_TYPES[path.rpartition('.')[2]]}; charset=utf-8", f'"{hashlib.sha256(body).hexdigest()}"')
