"""Reports what the API server does not let us do, or does not have, as troubles of the process; each is cleared by its first success."""

from __future__ import annotations

import anyio

from dyff.cluster.kubernetes import answers
from dyff.kernel import degradation, errors

FORGET_S = 300.0
"""A trouble that was not met again for this long is not reported any more: what needed it is gone."""

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def verb(method: str, path: str, query: object) -> str:
    """What a request does, as in a role's rules."""
    if method != "GET":
        return _VERBS.get(method, method.lower())
    if isinstance(query, dict) and query.get("watch") == "true":
        return "watch"
    return "get" if "/" in _below(path) or "/namespaces/" not in path else "list"


def place(path: str) -> str:
    """The type in a path as in a role's rules, with its subresource, such as `pods/log` or `jobs.batch/status`."""
    plural, *rest = _below(path).split("/")
    group = path.split("/")[2] if path.startswith("/apis/") else ""
    return plural + (f".{group}" if group else "") + "".join(f"/{each}" for each in rest[1:2])


def _below(path: str) -> str:
    _, found, rest = path.partition("/namespaces/")
    return rest.partition("/")[2] if found else path.strip("/")


class Reporter:
    """Remembers which troubles there are, by verb and type."""

    def __init__(self, troubles: degradation.Troubles) -> None:
        self._troubles = troubles
        self._known: dict[tuple[str, str], tuple[str, float]] = {}

    def refused(self, refusal: answers.Refusal, path: str) -> errors.DyffError:
        """Report a refusal; returns its error."""
        found, error = answers.trouble(refusal, place(path)), answers.error(refusal)
        if found is not None:
            self._troubles.report(found, answers.trouble_reason(refusal))
            self._known[refusal.verb, place(path)] = found, anyio.current_time()
        return error

    def credentials(self, reason: str) -> None:
        """Report that the credentials cannot be read."""
        self._troubles.report("cluster credentials", reason)
        self._known["", "credentials"] = "cluster credentials", anyio.current_time()

    def succeeded(self, done: str, path: str) -> None:
        """Clear what a success of the verb `done` proves to be over. Costs nothing if there is no trouble."""
        if not self._known:
            return
        here, old = place(path), anyio.current_time() - FORGET_S
        for key, (name, since) in tuple(self._known.items()):
            is_known = "/namespaces/" in path and not name.startswith(("cluster permission", "cluster type"))
            general = is_known or (name.startswith("cluster type") and key[1] == here)
            if key == (done, here) or general or since < old:
                del self._known[key]
                if name not in [known for known, _ in self._known.values()]:
                    self._troubles.clear(name)
