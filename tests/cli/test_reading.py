"""What people read: why something waits, and samples as conversations."""

from __future__ import annotations

import shlex
from types import SimpleNamespace

import pytest

from dyff.cli import sample_lines, tables, waiting_words
from dyff.entities import samples, statuses
from dyff.entities.relations import Related
from dyff.entities.samples import Cell, Sample

ID = "a" * 32
NEEDS = [
    Related(id="b" * 32, visible=True, required=True, kind="Dataset", status="WaitingForUpload"),
    Related(id="c" * 32, visible=True, required=True, kind="Model", status="Failed"),
    Related(id="d" * 32, visible=True, required=False, kind="Module", status="Failed"),
    Related(id="e" * 32, visible=False, required=True),
]


def said(status, reason=None, message=None, needs=(), kind="evaluation", has_logs=True):
    entity = SimpleNamespace(id=ID, account="me", status=status, reason=reason, message=message)
    return waiting_words.words(entity, kind, needs, has_logs)


CASES = {
    "complete": (("Complete",), "has succeeded", ()),
    "dependency": (("Created", "UnsatisfiedDependency", "Waiting for x", NEEDS), "until what it needs has succeeded",
                   (f"dyff why dataset {'b' * 32}", f"dyff why model {'c' * 32}")),
    "invisible": (("Created", "UnsatisfiedDependency", None, NEEDS[3:]), "until what it needs", ("Ask who owns what it needs.",)),
    "own quota": (("Created", "QuotaLimit", "Account quota exceeded: 8/8"), "of its account have ended",
                  ("dyff ls evaluation --account me --status Admitted", "Or ask the operator for a higher quota.")),
    "global quota": (("Created", "QuotaLimit", "Global quota exceeded: 8/8"), "on this server have ended", ()),
    "suspended": (("Created", "AccountSuspended"), "is suspended", ("The operator undoes that: dyff account reactivate me",)),
    "new": (("Created",), "has not decided", (f"dyff wait evaluation {ID}",)),
    "next": (("Schedulable",), "it starts next", (f"dyff wait evaluation {ID}",)),
    "runs": (("Admitted", "Inference"), "the system under test is asked", (f"dyff wait evaluation {ID}", f"dyff logs evaluation {ID}")),
    "another reason": (("Admitted", "Odd"), "It runs (Odd)", (f"dyff wait evaluation {ID}", f"dyff logs evaluation {ID}")),
    "upload": (("WaitingForUpload",), "waits for its files", ("Upload them, then finalize: the SDK's upload functions do both.",)),
    "finalizing": (("WaitingForUpload", "Finalizing"), "checks and stores", (f"dyff wait evaluation {ID}",)),
    "failed": (("Failed", "InferenceFailed"), "without success (InferenceFailed)",
               (f"dyff logs evaluation {ID}", f"dyff samples {ID} --incomplete --errors")),
    "failed dependency": (("Failed", "FailedDependency", None, NEEDS), "something that it needs has failed",
                          (f"dyff why model {'c' * 32}",)),
    "terminated": (("Terminated", "Expired"), "by its expiry", ("Create it again.",)),
    "deleted": (("Deleted",), "deleted, for good", ()),
}  # fmt: skip


@pytest.mark.parametrize(("given", "what", "then"), CASES.values(), ids=CASES)
def test_a_state_in_words(given, what, then):
    """Each says what it waits for, and what to do."""
    found = said(*given)
    assert what in found.what
    assert found.next == then


def test_every_status_has_words():
    """None is left without a sentence."""
    assert all(said(each).what.endswith(".") for each in statuses.ALL)


def test_commands_are_quoted():
    """Accounts are names that others chose."""
    entity = SimpleNamespace(id=ID, account="a; rm -rf ~", status="Created", reason="QuotaLimit", message="Account quota exceeded: 1/1")
    command = waiting_words.words(entity, "model", (), True).next[0]
    assert shlex.split(command)[4] == "a; rm -rf ~"


@pytest.mark.parametrize(
    ("value", "turns"),
    [
        ([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None}], [("user", "Hi"), ("assistant", "")]),
        ([{"from": "human", "value": "Hi"}], [("human", "Hi")]),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}, "b", 1]}], [("user", "a\n[image_url]\nb\n")]),
        ([], None), ("text", None), ([1], None), ([{"content": "x"}], None), ([{"role": "user", "content": {"a": 1}}], None),
    ],
)  # fmt: skip
def test_what_is_a_conversation(value, turns):
    """The usual forms, as the console has them; anything else is shown as JSON."""
    found = sample_lines.conversation(value)
    assert (None if found is None else [tuple(each) for each in found]) == turns


HOSTILE = "a\x1b[31m\u202eb\x07"


def cell(name, value, kind="text", **more):
    return Cell(name=name, kind=kind, value=value, **more)


SAMPLE = Sample(
    index=7, replication="f" * 32, number=0,
    item=[cell("prompt", HOSTILE), cell("messages", [{"role": f"user{HOSTILE}", "content": HOSTILE}], "json"), cell("n", 3, "json"),
          cell("image", None, "bytes", bytes=12, mediaType="image/png"), cell("odd", "no form", "none"),
          cell("long", "beginning", bytes=5000, cut=True)],
    responses=[[cell("_response_index_", 0, "json"), cell("text", "one two three four five six")], [cell("text", "second")]],
    error=[cell("error", "BadRequest"), cell("status", 400, "json"), cell("message", HOSTILE), cell("received", "not shown")],
    scores=[samples.Scored(measurement="m", row=[cell("_index_", 7, "json"), cell("rate", 1 / 3, "json"),
                                                  cell(f"ok{HOSTILE}", True, "json")])],
)  # fmt: skip


@pytest.mark.parametrize("width", [20, 40, 80, 140])
def test_a_sample_is_readable_and_harmless(width):
    """On any terminal; nothing of an item, an answer or an error can move its cursor or reorder the text."""
    found = [sample_lines.heading(SAMPLE), *sample_lines.lines(SAMPLE, width, None)]
    text = "\n".join(found)
    assert all(each.isprintable() for each in found)
    assert "_response_index_" not in text
    assert "_index_" not in text
    assert found[0].startswith("7.0   error   rate: 0.3333   ok")
    assert "image/png" in text
    if width >= 80:
        assert max(map(tables.width, found[1:])) <= width
        assert "answer text" in text
        assert "beginning ... (5000 bytes in all)" in text


def test_long_values_are_cut_and_say_so():
    """By lines; None is for one sample alone."""
    long = Sample(index=0, replication="f" * 32, item=[cell("prompt", "line\n" * 40)])
    assert sample_lines.lines(long, 80, 5)[-1].strip() == "... 36 more lines"
    assert len(sample_lines.lines(long, 80, None)) == 41
    assert sample_lines.heading(long) == f"0.{'f' * 32}   no answer"


@pytest.mark.parametrize(
    ("text", "lines"),
    [("", [""]), ("a b", ["a b"]), ("aaa bbb", ["aaa", "bbb"]), ("aaaaaaa", ["aaaa", "aaa"]), ("a\n\nb", ["a", "", "b"]),
     ("日本語", ["日本", "語"]),
     ("  a", ["  a"])],
)  # fmt: skip
def test_texts_are_wrapped(text, lines):
    """At spaces where there are any, by what a terminal shows, here of four columns."""
    assert sample_lines.wrap(text, 4) == lines
