"""What the head of a request must have, as RFC 9110 and 9112 define it, beyond what the parser checks.

A proxy and we must read the same request. So a header of which one counts must not be there twice: one of us could read the first and the
other the last. The same holds for a body whose end only one of us finds.
"""

from __future__ import annotations

import re
from collections.abc import Collection

ONCE = frozenset(
    (
        b"authorization content-encoding content-length content-md5 content-type dyff-position host idempotency-key if-range range"
        b" transfer-encoding"
    ).split()
)
"""The headers that we read and of which a request has one, in lower case. All others are lists, or nothing depends on them."""

VERSIONS = ("1.0", "1.1")

_HOST = re.compile(rb"(?:[A-Za-z0-9._~%-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?\])(?::[0-9]{0,5})?")
"""A host as RFC 3986 has it, without the punctuation that no name of a server has, such as the comma of two joined values.

It may be empty: the header of a request for no host is.
"""

Refusal = tuple[int, str]
"""The status, and the text of the detail."""


def refusal(version: str, headers: Collection[tuple[bytes, bytes]]) -> Refusal | None:
    """Why a request with this version of HTTP and these headers is refused; None if it is not. Names are in lower case, values stripped."""
    single = [each for each in headers if each[0] in ONCE]
    found = dict(single)
    if len(found) != len(single):
        return 400, f"the header '{_repeated([name for name, _ in single])}' is there more than once; send it once"
    if version not in VERSIONS:
        return 505, "the version of HTTP must be 1.1 or 1.0"
    host = found.get(b"host")
    if host is None:
        return None if version == "1.0" else (400, "the header 'Host' is missing; HTTP/1.1 requires it")
    if _HOST.fullmatch(host) is None:
        return 400, "the header 'Host' must be a host name or an address, with or without a port"
    coding = found.get(b"transfer-encoding")
    return None if coding is None else _refused_coding(version, coding)


def _refused_coding(version: str, coding: bytes) -> Refusal | None:
    if version == "1.0":
        return 400, "HTTP/1.0 has no header 'Transfer-Encoding'; send 'Content-Length', or use HTTP/1.1"
    if coding.lower() != b"chunked":
        return 501, "the only transfer coding that is read is 'chunked'"
    return None


def _repeated(names: list[bytes]) -> str:
    first = next(name for name in names if names.count(name) > 1)
    return "-".join(each.capitalize() for each in first.decode().split("-"))
