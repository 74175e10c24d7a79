"""How tables and lists of fields are fitted to a terminal."""

from __future__ import annotations

import pytest

from dyff.cli import tables

ID = "0123456789abcdef" * 2
HEADS = ("id", "name", "status", "account")
ROWS = [[ID, "a long name of a dataset", "Ready", "f" * 32], [ID, "", "WaitingForUpload", "f" * 32]]


@pytest.mark.parametrize(
    ("text", "columns"),
    [("", 0), ("abc", 3), ("日本語", 6), ("e\u0301", 1), ("ａ", 2), ("é", 1)],
    ids=["none", "ascii", "wide", "combined", "full", "one"],
)
def test_a_text_takes_as_many_columns_as_a_terminal_shows(text, columns):
    """Wide characters take two, and a mark that is put above a letter none."""
    assert tables.width(text) == columns


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [("abc", 3, "abc"), ("abcdef", 5, "ab..."), ("日本語日本語", 8, "日本..."), ("ab  cdef", 7, "ab..."), ("abcd", 3, "...")],
)
def test_a_text_is_cut_to_the_columns_that_there_are(text, most, shown):
    """The dots count, and no wide character is halved."""
    assert tables.cut(text, most) == shown
    assert tables.width(shown) <= most


@pytest.mark.parametrize("most", [None, 200, 120, 80, 70, 40, 1])
def test_a_table_fits(most):
    """What matters least is left out, then texts are cut, but no ID ever; without a terminal nothing is."""
    found = tables.lines(HEADS, ROWS, most, optional=("account",))
    assert len(found) == 3
    assert all(ID in line for line in found[1:])
    if most is None or most >= 120:
        assert "f" * 32 in found[1]
        assert "a long name of a dataset" in found[1]
    if most in (70, 80):
        assert max(map(tables.width, found)) <= most
        assert "ACCOUNT" not in found[0]
        assert "WaitingForUpload" in found[2]


def test_columns_are_aligned_and_empty_ones_left_out():
    """By what a terminal shows, not by the number of characters."""
    found = tables.lines(("name", "reason", "n"), [["日本", "", "1"], ["abcdef", "", "2"]])
    assert found == ["NAME    N", "日本    1", "abcdef  2"]
    assert tables.lines(("name",), []) == [""]


def test_colours_do_not_change_the_width():
    """They are added to cells that have their width already; the head has none."""
    found = tables.lines(("status", "n"), [["Ready", "1"]], paint=lambda name, text, whole: f"<{name}:{text}:{whole}>")
    assert found == ["STATUS  N", "<status:Ready:Ready >  <n:1:1>"]


def test_fields_are_aligned():
    """Further lines of a value are below its first."""
    assert tables.fields([("id", "1"), ("message", "a\nb")]) == ["id       1", "message  a\n         b"]
    assert tables.fields([]) == []


@pytest.mark.parametrize(("seconds", "shown"), [(-3, "0s"), (5.9, "5s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (86400 * 40, "40d")])
def test_an_age_is_a_few_letters(seconds, shown):
    """In the largest unit of which there is one."""
    assert tables.age(seconds) == shown
