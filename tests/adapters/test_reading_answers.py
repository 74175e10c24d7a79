"""How an answer is read: what is used, and what is refused with which reason. Whole runs on such answers are in tests/workflows."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest

from dyff.adapters import answers

GOOD = b'{"text": "fine"}'
HALF = b'{"text": "\\ud800"}'


def shown(value):
    """A short name of a case, the same in every process."""
    return ascii(value)[:24]


def gzipped(data):
    """Without the present time, which would be part of the case's name."""
    return gzip.compress(data, mtime=0)


def outputs(items):
    """An output pipeline that drops all but the text."""
    return [{"text": item["text"]} for item in items]


def read(body, encoding=None, media_type=None):
    return answers.read(body, encoding, media_type, outputs)


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (GOOD, "fine"),
        (b"\xef\xbb\xbf" + GOOD, "fine"),
        (b'{"text": "fine", "logprob": NaN}', "fine"),
        (b'{"text": "fine", "logprob": -Infinity}', "fine"),
        (b'{"text": "fine", "score": 1e999}', "fine"),
        (b'{"text": "fine", "id": ' + b"9" * 5000 + b"}", "fine"),
        (b'{"text": "fine", "title": "\\ud800"}', "fine"),
        (b'{"text": 1.5, "x": NaN}', 1.5),
        (b'{"text": 12345678901234567890123, "x": NaN}', 12345678901234567890123),
    ],
    ids=shown,
)
def test_what_harms_nothing_is_no_reason_to_refuse_an_answer(body, want):
    """Many services send what is not strictly JSON. It matters only if the pipeline keeps it, and all that is kept is unchanged."""
    assert read(body).responses == [{"text": want}]


@pytest.mark.parametrize(
    ("body", "media_type", "reason"),
    [
        (b"", None, "is empty"),
        (b" \r\n\t", None, "is empty"),
        (b'{"text": "caf\xe9"}', None, "is not UTF-8 text: invalid continuation byte at byte 13"),
        (GOOD[:-1], None, "is not JSON: Expecting ',' delimiter"),
        (b"Internal error", "text/plain", "is not JSON: Expecting value"),
        (b"<!doctype html>", None, "is not JSON but HTML"),
        (b"\n  <html>", "text/html", "is not JSON but HTML"),
        (b"data: {}\n\n", None, "is not JSON but a stream of events (let the inputPipeline set"),
        (b": ping\n\n", None, "a stream of events"),
        (b"event: a\n\n", None, "a stream of events"),
        (b"\nid: 1\n\n", "Text/Event-Stream; charset=utf-8", "a stream of events"),
        (b"[" * 100_000, None, "is nested too deep"),
        (b'{"text": 1e999}', None, "has the number 1e999, which is out of range"),
        (b'{"text": ' + b"9" * 5000 + b"}", None, f"has the number {'9' * 40}..., which is out of range"),
        (HALF, None, "has a text with half a surrogate pair, which is no character"),
    ],
    ids=shown,
)
def test_what_cannot_be_read_is_refused_with_the_reason(body, media_type, reason):
    """The reason says what it is instead of JSON, as far as that shows, and what to change."""
    with pytest.raises(answers.Unfit) as caught:
        read(body, None, media_type)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "overloaded"}', '; it says: "overloaded"'),
        (b'{"error": {"message": "overloaded", "code": 1e999}}', '; it says: {"message":"overloaded","code":"inf"}'),
        (b'{"error": "' + b"x" * 400 + b'"}', f'; it says: "{"x" * 299}...'),
        (b'{"error": "\\ud800"}', ""),
        (b'{"error": null}', ""),
        (b"{}", ""),
    ],
    ids=shown,
)
def test_the_own_words_of_an_answer_are_in_the_reason(body, words):
    """A service that reports an error says more than the pipeline that misses its field."""
    with pytest.raises(answers.Unfit) as caught:
        read(body)
    assert str(caught.value) == f"does not fit the output pipeline: 'text'{words}"


def test_an_error_of_the_pipeline_without_words_has_its_name():
    """The reason is never empty, and a long one is shortened."""

    def raising(error):
        def made(_):
            raise error

        return made

    with pytest.raises(answers.Unfit, match=r"output pipeline: ZeroDivisionError$"):
        answers.read(GOOD, None, None, raising(ZeroDivisionError()))
    with pytest.raises(answers.Unfit, match=r"output pipeline: x{1000}\.\.\.$"):
        answers.read(GOOD, None, None, raising(ValueError("x" * 5000)))


def test_an_answer_needs_a_response():
    """An output pipeline that makes none of it shows that it is another answer, which may say why."""
    with pytest.raises(answers.Unfit, match=r'makes no response of it; it says: \["busy"\]'):
        answers.read(b'{"error": ["busy"]}', None, None, lambda _: [])


def test_the_output_schema_decides_last():
    """The check sees the responses, and what it refuses is refused."""
    seen: list[list[Any]] = []
    assert answers.read(GOOD, None, None, outputs, seen.append).value == {"text": "fine"}
    assert seen == [[{"text": "fine"}]]

    def refusing(responses):
        raise answers.Unfit("does not fit")

    with pytest.raises(answers.Unfit, match=r"^does not fit$"):
        answers.read(GOOD, None, None, outputs, refusing)


def raw_deflate(data):
    made = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return made.compress(data) + made.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("identity", GOOD),
        (" ", GOOD),
        ("gzip", gzipped(GOOD)),
        ("X-GZIP", gzipped(GOOD)),
        (None, gzipped(GOOD)),
        ("gzip", gzipped(GOOD[:5]) + gzipped(GOOD[5:])),
        ("gzip", gzipped(GOOD) + b"\0\0"),
        ("deflate", zlib.compress(GOOD)),
        ("deflate", raw_deflate(GOOD)),
        ("identity, gzip,", gzipped(GOOD)),
        ("deflate, gzip", gzipped(zlib.compress(GOOD))),
    ],
    ids=shown,
)
def test_content_codings_are_undone(encoding, body):
    """Also several, the last one first, files of several members, and gzip that no header tells of."""
    assert read(body, encoding).responses == [{"text": "fine"}]


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("br", GOOD, "is encoded as 'br', which was not asked for"),
        ("x" * 100, GOOD, f"is encoded as '{'x' * 40}...', which was not asked for"),
        ("gzip, gzip, gzip, gzip", GOOD, "is encoded 4 times over"),
        ("gzip", gzipped(GOOD)[:-1], "is not complete gzip"),
        ("gzip", GOOD, "is not gzip, which its Content-Encoding says: "),
        ("deflate", b"\xff\xff", "is not deflate, which its Content-Encoding says: "),
        ("deflate", b"", "is not complete deflate"),
        ("gzip", gzipped(b" " * 1001), "has more than 1000 bytes when it is decompressed"),
        ("gzip", gzipped(b" " * 600) + gzipped(b" " * 600), "has more than 1000 bytes"),
    ],
    ids=shown,
)
def test_a_coding_that_cannot_be_undone_is_a_reason(encoding, body, reason, monkeypatch):
    """It names the coding, and nothing is decompressed beyond the limit."""
    monkeypatch.setattr(answers, "MAX_DECODED_BYTES", 1000)
    with pytest.raises(answers.Unfit) as caught:
        read(body, encoding)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (b" two\r\n\t lines ", "two lines"),
        (b"caf\xe9", "caf\ufffd"),
        (b"x" * 1000, "x" * 1000),
        (b"x" * 1001, "x" * 1000 + "..."),
        (json.dumps({"a": "b"}).encode(), '{"a": "b"}'),
    ],
    ids=shown,
)
def test_what_people_see_of_a_body_is_one_short_line(body, want):
    """Whatever it is, it can be shown."""
    assert answers.excerpt(body) == want
