"""Translates error responses of the API server: what each is about, and what callers do about it (docs/adr/0032). Pure.

An error's body is a `Status`: `{"message", "reason", "details": {"name", "kind", "causes": [{"reason", "field", "message"}],
"retryAfterSeconds"}}`. Programs that the server asks (admission webhooks) choose code and message themselves, so the text decides first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from dyff.entities import codecs
from dyff.kernel import backoff, errors

MAX_WAIT_S = 30.0
MAX_MESSAGE_CHARS = 2000
"""A longer message is cut. Policies write messages of any length, and they become part of a status."""

_DENIED = re.compile(r"\bdenied (the )?request\b")
"""Admission webhooks (Gatekeeper, Kyverno, ...) and ValidatingAdmissionPolicies, with any code: this object is refused."""

_NOT_PERMITTED = re.compile(
    r'\bUser ".*?" cannot \w+ (resource|path|\w+/\w+) |\bUser ".*?" cannot \w+ [\w.]+ (in the namespace|at the cluster scope)|'
    r"cannot set blockOwnerDeletion|\bRBAC: "
)
"""The authorizer's answer: it would be the same for any object."""

_PASSING = re.compile(
    r"exceeded quota|status unknown for quota|being terminated|not yet ready to handle request|failed calling webhook|"
    r"failed to call webhook|conversion webhook for .* failed|attempted to modify the object"
)
"""Parts of messages about one object that mean that it is refused only for now."""

_EXISTS = re.compile(r"\balready exists\b")
_ABSENT = re.compile(r'^[\w.-]+ "[^"]+" not found$')
"""The server's words about one object that is missing, in an answer without details."""

_EXPIRED = re.compile(
    r"invalid resource ?version|too (old|large|high) resource ?version|resource ?version .*(too old|too large|is too|expired|compacted)|"
    r"continue parameter is too old|"
    r"continue token|revision has been compacted|is a future revision|requested index is outdated|requested history has been cleared",
    re.IGNORECASE,
)
"""Messages that mean that a version, or the next page of one, cannot be served (any more, or yet)."""

_TOO_LARGE = re.compile(r"request is too large|larger than max|request entity too large", re.IGNORECASE)
_READS = frozenset({"get", "list", "watch"})
_MARKUP = re.compile(r"<[^>]*>|\s+")
_TEXT_BYTES = 4096
"""How much of an answer that is no `Status` is looked at for its words."""


class NotReadable(errors.Unavailable):
    """The server says that it cannot answer such a question, as of the log of a container that has not started."""


class Refusal(msgspec.Struct, frozen=True):
    """An error response. `what`: the request, for people. `body`: the `Status`; empty if the response had none. `verb`: as in a role's
    rules, such as `create`.
    """

    what: str
    code: int
    body: Mapping[str, Any] = {}
    verb: str = "get"

    @property
    def reason(self) -> str:
        """The reason for programs, such as `AlreadyExists`."""
        return str(self.body.get("reason") or "")

    @property
    def message(self) -> str:
        """The message for people, at most `MAX_MESSAGE_CHARS` characters."""
        text = str(self.body.get("message") or "").strip() or f"status {self.code}"
        return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 4] + " ..."

    @property
    def details(self) -> Mapping[str, Any]:
        """Further details for programs."""
        found = self.body.get("details")
        return found if isinstance(found, Mapping) else {}

    @property
    def causes(self) -> list[Mapping[str, Any]]:
        """The problems, by field."""
        found = self.details.get("causes")
        return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list | tuple) else []

    @property
    def is_of_an_object(self) -> bool:
        """For a 404: whether the object is missing, rather than its type or its namespace."""
        if self.details:
            return bool(self.details.get("name")) and self.details.get("kind") != "namespaces"
        return bool(_ABSENT.match(self.message)) and not self.message.startswith("namespaces ")

    @property
    def is_of_the_server(self) -> bool:
        """Whether the answer is the API server's, not that of a proxy or a firewall before it, whose pages are no `Status`."""
        return self.body.get("kind") == "Status" or bool(self.reason)

    @property
    def is_write(self) -> bool:
        """Whether the request was about changing one object."""
        return self.verb not in _READS

    @property
    def is_denied(self) -> bool:
        """Whether a policy refuses this object."""
        return self.is_write and bool(_DENIED.search(self.message))

    @property
    def is_passing(self) -> bool:
        """Whether a write is refused only for now."""
        going = any(each.get("reason") == "NamespaceTerminating" for each in self.causes)
        return self.is_write and (going or bool(_PASSING.search(self.message)))

    @property
    def is_not_permitted(self) -> bool:
        """Whether we lack a permission, so that any object would be refused."""
        if self.code != 403 or self.is_denied or self.is_passing:
            return False
        return not self.is_write or bool(_NOT_PERMITTED.search(self.message))

    @property
    def is_expired(self) -> bool:
        """Whether a version cannot be served, so that everything has to be listed again."""
        if self.verb not in ("list", "watch"):
            return False
        named = self.code == 410 or self.reason in ("Expired", "Gone", "ResourceExpired")
        caused = any(each.get("reason") in ("ResourceVersionTooLarge", "Expired") for each in self.causes)
        return named or caused or (self.code in (400, 500, 504) and bool(_EXPIRED.search(self.message)))


def status(body: bytes) -> Mapping[str, Any]:
    """The `Status` in a response. A proxy in front of the server answers with a page or a text: its words are the `message`."""
    try:
        return codecs.decode_object(body)
    except ValueError:
        text = body[:_TEXT_BYTES].decode("utf-8", "replace")
        words = "".join(each if each.isprintable() else " " for each in _MARKUP.sub(" ", text)).split()
        return {"message": " ".join(words)} if words else {}


def of_event(what: str, obj: Any) -> Refusal:
    """The refusal in an ERROR event of a watch, whose object is a `Status`."""
    body = obj if isinstance(obj, Mapping) else {}
    code = body.get("code")
    return Refusal(what, code if isinstance(code, int) and 400 <= code < 600 else 500, body, "watch")


def retry_after_s(refusal: Refusal, header: str | None, now: datetime) -> float | None:
    """How many seconds the server asks to wait before the same request, since nothing was done; None if a retry is useless."""
    if refusal.is_denied or refusal.is_expired or (refusal.code != 429 and not (refusal.code in (500, 503) and header)):
        return None
    asked = backoff.asked_s(header, now)
    if asked is None:
        asked = backoff.asked_s(str(refusal.details.get("retryAfterSeconds")), now)
    return 1.0 if asked is None else min(asked, MAX_WAIT_S)


def error(refusal: Refusal) -> errors.DyffError:
    """The error of ours for a refusal."""
    what, message, code = refusal.what, refusal.message, refusal.code
    if refusal.is_expired:
        return errors.WatchExpired(f"{what}: {message}")
    if code == 422 and any(each.get("field") == "metadata.uid" for each in refusal.causes):
        return errors.StaleVersion(f"{what}: another object has that name now")
    if refusal.is_denied and code != 422:
        return errors.Refused(f"{what}: {message}")
    if refusal.is_write and (code == 413 or (code >= 500 and _TOO_LARGE.search(message))):
        return errors.TooLarge(f"{what}: {message}")
    if refusal.is_passing:
        return errors.Refused(f"{what}: {message}", passing=True)
    if code in (400, 422) and not refusal.is_write:
        return NotReadable(f"{what}: {message}")
    if code in (400, 422) and refusal.is_of_the_server:
        return errors.InvalidFields(*_problems(refusal))
    if code == 401:
        return errors.Unavailable(f"{what}: the API server does not know us ({message}); check the credentials of cluster.kubernetes")
    if code == 403:
        return _forbidden(refusal)
    if code == 404:
        return _not_found(refusal)
    if code == 409 and refusal.is_write:
        return _conflict(refusal)
    return _other(refusal)


def trouble(refusal: Refusal, place: str) -> str | None:
    """The name of the trouble that a refusal shows (`dyff.kernel.degradation`), if it concerns more than one object. `place`: the type."""
    if refusal.code == 401 and not refusal.is_denied:
        return "cluster credentials"
    if refusal.is_not_permitted:
        return f"cluster permission: {refusal.verb} {place}"
    if refusal.code in (404, 405, 406) and not refusal.is_denied and isinstance(error(refusal), errors.Blocked):
        return "cluster namespace" if refusal.details.get("kind") == "namespaces" else f"cluster type: {place}"
    return None


def trouble_reason(refusal: Refusal) -> str:
    """Why, in words that are the same for all objects, so that a trouble does not look new with each of them."""
    text = error(refusal).message.removeprefix(f"{refusal.what}: ")
    found = _NOT_PERMITTED.search(text)
    return text[found.start() :] if found else text


def _problems(refusal: Refusal) -> list[errors.Problem]:
    reported = {(str(each["field"]), str(each["message"])): None for each in refusal.causes if each.get("field") and each.get("message")}
    found = [errors.Problem(("body", field), message) for field, message in reported]
    return found or [errors.Problem(("body",), f"{refusal.what}: {refusal.message}")]


def _forbidden(refusal: Refusal) -> errors.DyffError:
    if refusal.is_not_permitted:
        return errors.Blocked(f"{refusal.what}: {refusal.message}; the role that allows it is printed by 'dyff manifests rbac'")
    return errors.Refused(f"{refusal.what}: {refusal.message}")


def _not_found(refusal: Refusal) -> errors.DyffError:
    if refusal.is_of_an_object:
        return errors.NotFound(f"{refusal.what}: {refusal.message}")
    advice = "make the namespace" if refusal.details.get("kind") == "namespaces" else "install the types with 'dyff manifests crds'"
    return errors.Blocked(f"{refusal.what}: {refusal.message}; {advice}")


def _conflict(refusal: Refusal) -> errors.DyffError:
    what = f"{refusal.what}: {refusal.message}"
    if refusal.reason == "AlreadyExists" or (not refusal.reason and _EXISTS.search(refusal.message)):
        return errors.AlreadyExists(what)
    # A creation names no version: another object changed at the same time, such as the quota that it counts against.
    return errors.Refused(what, passing=True) if refusal.verb == "create" else errors.StaleVersion(what)


def _other(refusal: Refusal) -> errors.DyffError:
    what, message = refusal.what, refusal.message
    if refusal.code in (405, 406, 415):
        return errors.Blocked(f"{what}: the API server does not offer this ({message}); install the types with 'dyff manifests crds'")
    if refusal.is_write and 400 <= refusal.code < 500 and refusal.code not in (408, 410, 429):
        return errors.Refused(f"{what}: {message}")
    return errors.Unavailable(f"{what}: the API server does not answer as it should ({message})")
