"""Keeps tokens and the signatures of URLs out of errors, logs and displays."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

import httpx

from dyff.entities import showing

_SHORTEST = 8
"""Shorter texts are no secrets: dates, versions, lifetimes."""


def bearer(token: str) -> str:
    """Return the header Authorization of a token. Spaces and line ends around it, as left by copying, do no harm.

    Raises:
        ValueError: it has characters that no token has. The message does not contain it.
    """
    text = token.strip()
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError("the token is not valid: it must be one line of ASCII characters, as 'dyff token create' prints it")
    return f"Bearer {text}"


class SignedURL(httpx.URL):
    """A URL that works as a credential. Where it is displayed, as in the log of httpx, it lacks what makes it one."""

    def __str__(self) -> str:
        return showing.unsigned(super().__str__())

    def __repr__(self) -> str:
        return f"URL({str(self)!r})"


def signed(request: httpx.Request) -> httpx.Request:
    """Return the request, which is displayed without the signature of its URL."""
    request.url = SignedURL(request.url)
    return request


def secrets_of(url: httpx.URL | str) -> list[str]:
    """Return the values in the query of a signed URL that could be secret."""
    query = url.query.decode("ascii", "replace") if isinstance(url, httpx.URL) else url.partition("?")[2]
    raw = [each.partition("=")[2] for each in query.split("&")]
    return [*{*raw, *(value for _, value in parse_qsl(query))}]


def masked(detail: Any, secrets: Iterable[str]) -> Any:
    """Return decoded JSON in which the secrets do not occur."""
    text = json.dumps(detail, ensure_ascii=False)
    for each in sorted((each for each in secrets if len(each) >= _SHORTEST), key=len, reverse=True):
        for form in (each, json.dumps(each, ensure_ascii=False)[1:-1]):
            text = text.replace(form, showing.HIDDEN)
    return json.loads(text)
