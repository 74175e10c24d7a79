"""The line of a terminal that shows progress, as a person sees it."""

from __future__ import annotations

import io
import os
import shutil
import sys
from typing import Any, cast

import pytest

from dyff.entities import answers
from dyff.sdk import display, models, status_line, tally

COLUMNS = 90


@pytest.fixture
def screen(monkeypatch, capsys):
    """What a terminal of 90 columns shows of what was written: its lines, without spaces at their ends."""
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((COLUMNS, 24)))
    monkeypatch.setattr(status_line, "EVERY_S", 0)

    def shown():
        lines, row, column = [""], 0, 0
        for char in capsys.readouterr().out:
            if char == "\n":
                row, column = row + 1, 0
                lines.append("")
            elif char == "\r":
                column = 0
            else:
                assert column < COLUMNS, "it is wider than the terminal"
                lines[row] = lines[row][:column].ljust(column) + char + lines[row][column + 1 :]
                column += 1
        return [line.rstrip() for line in lines]

    return shown


def test_a_line_replaces_the_one_before(screen):
    """A shorter one, too, leaves nothing of a longer one, and none is wider than the terminal."""
    line = status_line.StatusLine()
    line.show("x" * 200)
    line.show("short")
    line.end(keep=True)
    assert screen() == ["short", ""]


def test_what_is_said_stays_above(screen):
    """The line goes on below it."""
    line = status_line.StatusLine()
    line.show("working on it")
    line.say("  waiting for the service")
    line.end(keep=True)
    assert screen() == ["  waiting for the service", "working on it", ""]


def test_it_can_disappear(screen):
    """As after a transfer."""
    line = status_line.StatusLine()
    line.show("working on it")
    line.end(keep=False)
    assert screen() == [""]


def test_the_last_state_is_written(screen, monkeypatch):
    """Even if the calls before it followed each other at once."""
    monkeypatch.setattr(status_line, "EVERY_S", 3600)
    line = status_line.StatusLine()
    line.show("first")
    line.show("last")
    line.end(keep=True)
    assert screen() == ["last", ""]


def test_texts_of_others_do_not_move_the_cursor(screen):
    """Escape sequences and line breaks are shown as what they are."""
    line = status_line.StatusLine()
    line.show("\x1b[2Jgone\n")
    line.say("a\rb\x9bc")
    line.end(keep=True)
    assert screen() == ["a\\rb\\x9bc", "\\x1b[2Jgone\\n", ""]


def test_the_progress_of_a_run(screen):
    """Stage, bar, items and rate; a run that reports none has its status only."""
    entity = models.Evaluation(id="e", account="a", kind="Evaluation", status="Admitted", dataset="d", inferenceSession=cast(Any, {}))
    shown = display.Bar()
    with shown:
        shown.show(entity, None)
        first = screen()
        shown.show(entity, answers.Progress(stage="Inference", done=5, total=10, rate=2.0))
    last = screen()
    assert first[0].split() == ["Admitted", "0:00:00"]
    assert "[##########..........] 5/10" in last[0]
    assert "Admitted, Inference" in last[0]


def test_the_progress_of_a_transfer(screen):
    """Files and bytes; nothing remains of it."""
    count = tally.Bar("upload", 2, 100)
    with count:
        count.add(50)
        count.finish_file()
        during = screen()
    assert "upload 1 of 2" in during[0]
    assert "[##########..........]" in during[0]
    assert screen() == [""]


@pytest.mark.parametrize(
    ("done", "total", "full"), [(0, None, 0), (0, 0, 0), (0, 10, 0), (5, 10, 10), (10, 10, 20), (11, 10, 20), (-1, 10, 0)]
)
def test_a_bar_has_always_the_same_width(done, total, full):
    """Whatever the numbers are."""
    assert status_line.bar(done, total) == f"[{'#' * full}{'.' * (20 - full)}]"


@pytest.mark.parametrize("charset", ["utf-8", "cp1252", "ascii"])
def test_progress_is_shown_in_every_charset(monkeypatch, charset):
    """What the output's character set lacks is escaped, and does not end the program that waits."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=charset))
    display.plain("waits: 日本")
    line = status_line.StatusLine()
    line.show("fetches 日本")
    line.say("says 日本")
    line.end(keep=True)
    tally.Lines("日本", 1)._write("sends 日本")
    shown = "日本".encode(charset, "backslashreplace")
    assert [word + b" " + shown in written.getvalue() for word in (b"waits:", b"fetches", b"says", b"sends")] == [True] * 4
