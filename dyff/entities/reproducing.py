"""Analyses that run an earlier one again: a request names the original, and has to ask for exactly what that did. Pure.

So nobody can call a run a reproduction that is another one, and readers can count reproductions apart (ADR 45).
"""

from __future__ import annotations

from collections.abc import Iterator

from dyff.entities import codecs, identity, statuses
from dyff.entities.analysis_requests import AnalysisCreateRequest
from dyff.kernel import errors


def problems(request: AnalysisCreateRequest, original: codecs.Json | None, makes: str) -> list[errors.Problem]:
    """Why a request does not reproduce `original`: each with the field that differs. `original`: None if the caller may not read it.

    `makes`: the kind of entity that is created.
    """
    loc = ("body", "reproduces")
    if original is None:
        return [errors.Problem(loc, f"there is no {makes} with the ID {request.reproduces} that you may read")]
    if original.get("reproduces"):
        return [errors.Problem(loc, f"is a reproduction itself; reproduce its original, {original['reproduces']}")]
    if original.get("status") != statuses.COMPLETE:
        return [errors.Problem(loc, f"must be complete; the status of {request.reproduces} is {original.get('status')}")]
    return [
        errors.Problem(("body", field), f"must be as in {request.reproduces}, which this is to reproduce")
        for field in _differing(request, original)
    ]


def _differing(request: AnalysisCreateRequest, original: codecs.Json) -> Iterator[str]:
    asked = identity.filled(request)
    if request.method != original["method"]["id"]:
        yield "method"
    if {key: each for key, each in (original.get("scope") or {}).items() if each is not None} != asked["scope"]:
        yield "scope"
    for field, value in (("arguments", "value"), ("inputs", "entity")):
        had = {each["keyword"]: each[value] for each in original.get(field) or []}
        if {each["keyword"]: each[value] for each in asked[field]} != had:
            yield field
