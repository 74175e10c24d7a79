"""JSON Merge Patch: how the fold edits entities and how Kubernetes edits objects."""

from __future__ import annotations

from typing import Any


def merged(target: Any, patch: Any) -> Any:
    """`target` with a merge patch (RFC 7386) applied, on copies: null removes a key, objects merge, everything else replaces.

    The fold relies on it, so its result for anything in a log must never change.
    """
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
