"""Reads the answers of services. An evaluation and `infer` of the client use it, so both treat the same answer in the same way. Pure.

An answer is foreign input: whatever is wrong with it is reported as `Unfit`, and never as another error.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

MAX_DECODED_BYTES = 2**26
"""Limit of a compressed answer after it is decompressed."""

MAX_VALUE_BYTES = 2**28
"""Limit of the values of an answer in memory, without the characters of its texts: a body of many `{}` needs thirty times its size."""

MAX_REASON_CHARS = 1_000
MAX_RECEIVED_CHARS = 1_000

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_STREAM = "text/event-stream"
_CODINGS = 3
"""The most content codings of an answer. Each can decompress to many times its size."""
_DECODER = msgspec.json.Decoder()

_QUICK_BYTES = 2**16
"""A body up to this size is not large as values, whatever it has."""
_STRUCTURE = {b"{": 240, b"[": 104, b",": 40, b":": 72, b'"': 40}
"""The most bytes of a value in CPython, by the character that it needs in JSON."""
_ONE_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TEXT = re.compile(_ONE_TEXT, re.DOTALL)
_SOME_TEXTS = re.compile(rb'(?:[^"]++|%b){1,1000}+' % _ONE_TEXT, re.DOTALL)
"""A part of a JSON text with some whole texts, so that what is made of it is small."""

Outputs = Callable[[Iterable[Any]], Iterable[Any]]
Check = Callable[[list[Any]], None]


class Unfit(Exception):
    """The answer cannot be read, or does not fit the output pipeline or the output schema. The message says why."""


class Reading(msgspec.Struct, frozen=True):
    """An answer. `value`: its JSON. `responses`: what the output pipeline makes of it; at least one."""

    value: Any
    responses: list[Any]


def read(body: bytes, encoding: str | None, media_type: str | None, outputs: Outputs, check: Check | None = None) -> Reading:
    """Read the body of a successful answer.

    Args:
        body: as it was received.
        encoding: the header Content-Encoding; None if it is absent.
        media_type: the header Content-Type; None if it is absent.
        outputs: the pipeline from an answer to its responses.
        check: raises `Unfit` if the responses do not fit the output schema; None for no check.

    Raises:
        Unfit: it cannot be read or does not fit.
    """
    encoding = (encoding or "").strip()
    data = body if not encoding and not body.startswith(_GZIP) else _decompressed(body, encoding or "gzip")
    if len(data) > _QUICK_BYTES and bytes_of_values(data) > MAX_VALUE_BYTES:
        raise Unfit(f"has so many values that they need more than {MAX_VALUE_BYTES} bytes in memory")
    try:
        value, is_strict = _DECODER.decode(data), True
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        value, is_strict = _leniently(data, media_type or ""), False
    try:
        responses = list(outputs([value]))
        if not is_strict:
            _check_kept(responses)
    except Unfit:
        raise
    except UnicodeEncodeError as error:
        raise Unfit("has a text with half a surrogate pair, which is no character") from error
    except Exception as error:
        raise Unfit(f"does not fit the output pipeline: {_shortened(str(error) or type(error).__name__)}{_own_words(value)}") from error
    if not responses:
        raise Unfit(f"does not fit the output pipeline, which makes no response of it{_own_words(value)}")
    if check is not None:
        check(responses)
    return Reading(value, responses)


def bytes_of_values(data: bytes) -> int:
    """Return about how many bytes the values of a JSON text need at most, without the characters of texts. It makes none of them.

    Texts are looked at only if this matters, because that takes ten times as long as to count.
    """
    found = _counted(data)
    if found <= MAX_VALUE_BYTES:
        return found
    found = 0
    for part in _SOME_TEXTS.finditer(data):
        found += _counted(_TEXT.sub(b'""', part[0]))
        if found > MAX_VALUE_BYTES:
            break
    return found


def _counted(data: bytes) -> int:
    return sum(data.count(char) * size for char, size in _STRUCTURE.items())


def excerpt(body: bytes) -> str:
    """The beginning of a body for people: one line of text."""
    text = " ".join(body[: 4 * MAX_RECEIVED_CHARS].decode("utf-8", "replace").split())
    return text if len(text) <= MAX_RECEIVED_CHARS else f"{text[:MAX_RECEIVED_CHARS]}..."


def _leniently(data: bytes, media_type: str) -> Any:
    """Read JSON as Python does, which accepts what many services send: NaN and Infinity, and half a surrogate pair.

    Such values do no harm if the pipeline drops them. A byte order mark is ignored.
    """
    if not data.strip():
        raise Unfit("is empty")
    try:
        text = data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        raise Unfit(f"is not UTF-8 text: {error.reason} at byte {error.start}") from error
    try:
        return json.loads(text, parse_float=_number, parse_int=_number)
    except RecursionError as error:
        raise Unfit("is nested too deep") from error
    except ValueError as error:
        raise Unfit(f"is not JSON{_what_instead(text, media_type)}: {_shortened(str(error))}") from error


class _OutOfRange(float):
    """A number that cannot be held. It does no harm if the pipeline drops it. `text`: its beginning, as it was received."""

    text: str


def _number(text: str) -> float | int:
    try:
        number = float(text) if any(char in text for char in ".eE") else int(text)
    except ValueError:  # Python refuses very long integers
        number = math.inf
    if not isinstance(number, float) or not math.isinf(number):
        return number
    made = _OutOfRange(number)
    made.text = _shortened(text, 40)
    return made


def _check_kept(responses: list[Any]) -> None:
    """Check what is left of an answer that is JSON only to a lenient reader.

    Raises:
        UnicodeEncodeError: it has half a surrogate pair.
        Unfit: a number is out of range.
    """

    def found(value: Any) -> Any:
        raise (
            Unfit(f"has the number {value.text}, which is out of range")
            if isinstance(value, _OutOfRange)
            else TypeError(type(value).__name__)
        )

    msgspec.json.encode(responses, enc_hook=found)


def _what_instead(text: str, media_type: str) -> str:
    start = text[:200].lstrip().lower()
    if media_type.lower().startswith(_STREAM) or start.startswith(("data:", "event:", ": ")):
        return " but a stream of events (let the inputPipeline set what makes the service stream, such as `stream`, to false)"
    return " but HTML (something else than the service may have answered)" if start.startswith("<") else ""


def _own_words(value: Any) -> str:
    """What the answer says about an error, as the end of a sentence."""
    said = value.get("error") if isinstance(value, dict) else None
    if not said:
        return ""
    try:
        return f"; it says: {_shortened(msgspec.json.encode(said, enc_hook=repr).decode(), 300)}"
    except (RecursionError, UnicodeError):
        return ""


def _shortened(text: str, most: int = MAX_REASON_CHARS) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _decompressed(body: bytes, encoding: str) -> bytes:
    """Undo the content codings. They were not asked for, but some services and proxies compress every answer."""
    codings = [each.strip().lower() for each in encoding.split(",")]
    if len(codings) > _CODINGS:
        raise Unfit(f"is encoded {len(codings)} times over")
    for coding in reversed(codings):
        if coding in ("gzip", "x-gzip"):
            body = _inflated(body, coding, 16 + zlib.MAX_WBITS)
        elif coding == "deflate":
            has_header = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
            body = _inflated(body, coding, zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        elif coding not in ("", "identity"):
            raise Unfit(f"is encoded as {_shortened(coding, 40)!r}, which was not asked for")
    return body


def _inflated(body: bytes, coding: str, window_bits: int) -> bytes:
    data = bytearray()
    try:
        while True:
            member = zlib.decompressobj(window_bits)
            data += member.decompress(body, MAX_DECODED_BYTES + 1 - len(data))
            if len(data) > MAX_DECODED_BYTES:
                raise Unfit(f"has more than {MAX_DECODED_BYTES} bytes when it is decompressed")
            if not member.eof:
                raise Unfit(f"is not complete {coding}")
            body = member.unused_data
            if not body.startswith(_GZIP):
                return bytes(data)
    except zlib.error as error:
        raise Unfit(f"is not {coding}, which its Content-Encoding says: {error}") from error
