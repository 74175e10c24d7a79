"""JSON Merge Patch: how the fold edits entities and how Kubernetes edits objects."""

from __future__ import annotations

from typing import Any


def merged(target: Any, patch: Any) -> Any:
    """`target` under a merge patch (RFC 7386), on copies: null removes a key, objects merge, everything else replaces.

    The fold relies on it, so what it returns may never change for what is in a log.
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
