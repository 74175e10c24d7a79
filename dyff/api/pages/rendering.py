"""Renders pages. Templates escape everything; a page's own style is allowed by its digest, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

from dyff.api.pages import charts, intervals, words
from dyff.entities import dossiers

POLICY = (
    "default-src 'none'; style-src '{style}'; img-src data:; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Of our own pages. `style`: the digest of their style."""

DOCUMENT_POLICY = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""Of an author's document. `sandbox` without any exception: it has an origin of its own, no script, no form, no window, no plugin."""

COMMON = (
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-dns-prefetch-control", "off"),
    ("cross-origin-resource-policy", "same-origin"),
)

OPENER = ("cross-origin-opener-policy", "same-origin")
"""Of our own pages only: a browser opens no sandboxed document that has it."""


def case(found: dossiers.Dossier, *, root: str = "/") -> bytes:
    """The page of a safety case. `root`: the path of the server."""
    lines = {each.name: intervals.line(each) for each in found.scores}
    others = found.otherSystems
    shown = [] if others is None else [each for each in (charts.scores(others), charts.differences(others)) if each is not None]
    return _render("case.html", case=found, lines=lines, charts=shown, root=root, relationships=dossiers.RELATIONSHIPS)


def missing() -> bytes:
    """The page where there is nothing that the reader may see."""
    return _render("missing.html")


def not_invited() -> bytes:
    """The page of an invitation that opens nothing."""
    return _render("not_invited.html")


def policy() -> str:
    """The policy of our own pages."""
    return POLICY.format(style=_style_digest())


def _render(name: str, **values: Any) -> bytes:
    return str(_environment().get_template(name).render(style=_style(), words=words, **values)).encode()


@cache
def _environment() -> Any:
    import jinja2  # a server that renders no page needs not load it

    return jinja2.Environment(
        loader=jinja2.PackageLoader("dyff.api.pages"),
        autoescape=True,
        finalize=words.seen,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _style() -> str:
    return resources.files("dyff.api.pages").joinpath("page.css").read_text(encoding="utf-8")


@cache
def _style_digest() -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()}"
