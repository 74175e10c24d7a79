"""Translates error responses of the API server. Pure.

An error's body is a `Status`: `{"message", "reason", "details": {"name", "kind", "causes": [{"field", "message"}], "retryAfterSeconds"}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dyff.kernel import errors

MAX_WAIT_S = 30.0
_PASSING = ("exceeded quota", "being terminated", "not yet ready to handle request")
"""Parts of messages that mean that a request is forbidden only for now."""


class Refusal(msgspec.Struct, frozen=True):
    """An error response. `what`: the request, for people. `body`: the `Status`; empty if the response had none."""

    what: str
    code: int
    body: Mapping[str, Any] = {}

    @property
    def reason(self) -> str:
        """The reason for programs, such as `AlreadyExists`."""
        return str(self.body.get("reason") or "")

    @property
    def message(self) -> str:
        """The message for people."""
        return str(self.body.get("message") or f"status {self.code}")

    @property
    def details(self) -> Mapping[str, Any]:
        """Further details for programs."""
        found = self.body.get("details")
        return found if isinstance(found, Mapping) else {}

    @property
    def causes(self) -> list[Mapping[str, Any]]:
        """The problems, by field."""
        return [each for each in self.details.get("causes") or () if isinstance(each, Mapping)]

    @property
    def is_of_an_object(self) -> bool:
        """For a 404: whether the object is missing, rather than its type or its namespace."""
        return bool(self.details.get("name")) and self.details.get("kind") != "namespaces"


def status(body: bytes) -> Mapping[str, Any]:
    """The `Status` in a response; empty if it contains none, as from a proxy in front of the server."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def retry_after_s(refusal: Refusal, header: str | None) -> float | None:
    """After how many seconds the same request can be retried, since nothing was done; None if a retry is useless."""
    if refusal.code != 429 and not (refusal.code in (500, 503) and header):
        return None
    reported = header if header and header.isdecimal() else refusal.details.get("retryAfterSeconds")
    return min(float(reported), MAX_WAIT_S) if reported else 1.0


def error(refusal: Refusal) -> errors.DyffError:
    """The error of ours for a refusal."""
    what, message = refusal.what, refusal.message
    if refusal.code == 422 and any(each.get("field") == "metadata.uid" for each in refusal.causes):
        return errors.StaleVersion(f"{what}: another object has that name now")
    if refusal.code in (400, 422):
        return errors.InvalidFields(*_problems(refusal))
    if refusal.code == 401:
        return errors.Misconfigured(f"{what}: the API server does not know us ({message}); check the credentials of cluster.kubernetes")
    if refusal.code == 403:
        return _forbidden(refusal)
    if refusal.code == 404:
        return _not_found(refusal)
    if refusal.code == 409:
        return (errors.AlreadyExists if refusal.reason == "AlreadyExists" else errors.StaleVersion)(f"{what}: {message}")
    if refusal.code == 410:
        return errors.WatchExpired(f"{what}: {message}")
    if refusal.code == 413:
        return errors.TooLarge(f"{what}: {message}")
    return errors.Unavailable(f"{what}: the API server does not answer as it should ({message})")


def _problems(refusal: Refusal) -> list[errors.Problem]:
    reported = {(str(each["field"]), str(each["message"])): None for each in refusal.causes if each.get("field") and each.get("message")}
    found = [errors.Problem(("body", field), message) for field, message in reported]
    return found or [errors.Problem(("body",), f"{refusal.what}: {refusal.message}")]


def _forbidden(refusal: Refusal) -> errors.DyffError:
    if any(words in refusal.message for words in _PASSING):
        return errors.Unavailable(f"{refusal.what}: {refusal.message}")
    return errors.Misconfigured(f"{refusal.what}: {refusal.message}; the role that allows it is printed by 'dyff manifests rbac'")


def _not_found(refusal: Refusal) -> errors.DyffError:
    if refusal.is_of_an_object:
        return errors.NotFound(f"{refusal.what}: {refusal.message}")
    advice = "make the namespace" if refusal.details.get("kind") == "namespaces" else "install the types with 'dyff manifests crds'"
    return errors.Misconfigured(f"{refusal.what}: {refusal.message}; {advice}")
