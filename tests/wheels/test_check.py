"""The check that everything that is locked has wheels."""

from __future__ import annotations

import subprocess

import pytest

from wheels import check


def test_every_lock_file_is_checked_for_every_python():
    """Also those of examples, engines and older clients; the client's for macOS and Windows, too."""
    found = {(each.lock, each.python) for each in check.cases()}
    assert {lock for lock, _ in found} == set(check.locks())
    assert found == {(lock, python) for lock in check.locks() for python in ("3.11", "3.12", "3.13")}
    client = {each.platform for each in check.cases() if each.lock == "requirements/sdk.txt"}
    assert {"x86_64-pc-windows-msvc", "aarch64-apple-darwin", "x86_64-apple-darwin"} <= client
    assert {"requirements/sdk.txt", "requirements/runtime.txt", "requirements/all.txt", "requirements/dev.txt"} <= set(check.locks())


@pytest.mark.parametrize(
    ("stderr", "state"),
    [
        ("error: Because x==1 has no usable wheels and you require x==1, your requirements are unsatisfiable", "missing"),
        ("error: Failed to fetch\n  Caused by: dns error: failed to lookup address information", "unreachable"),
        ("error: Request failed after 3 retries\n  Caused by: error sending request for url", "unreachable"),
    ],
)
def test_what_is_missing_differs_from_an_index_that_does_not_answer(monkeypatch, tmp_path, stderr, state):
    """Only the first is a fault of the lock file."""
    (tmp_path / "x.txt").write_text("x==1\n")
    monkeypatch.setattr(check, "_run", lambda *command, **_: subprocess.CompletedProcess(command, 1, "", stderr))
    found = check.select(check.Case("x.txt", "3.11", check.LINUX[0]), tmp_path)
    assert found.state == state
    assert stderr in found.detail


def test_a_python_that_is_not_here_is_reported(monkeypatch, tmp_path):
    """What was not executed is in the report, with the reason, and is no failure."""
    monkeypatch.setattr(check, "interpreter", lambda _: None)
    found = check.execute("3.13", tmp_path / "x.whl")
    assert (found.state, "no interpreter of Python 3.13" in found.detail) == ("not executed", True)
    assert check.report([found]) == 0


@pytest.mark.parametrize(
    ("states", "code"),
    [(["ok"], 0), (["ok", "not executed"], 0), (["ok", "unreachable"], check.UNREACHABLE), (["unreachable", "missing", "ok"], 1)],
)
def test_the_exit_code_says_which(capsys, states, code):
    """CI can accept that the index did not answer, and nothing else; the last line counts."""
    assert check.report([check.Outcome(f"case {n}", state, "why") for n, state in enumerate(states)]) == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert all(f"{states.count(state)} {state}" in last for state in states)


def test_a_source_that_is_accepted_is_named(monkeypatch, tmp_path):
    """It is not hidden: the report says which package has no wheel, and why that is accepted."""
    (tmp_path / "x.txt").write_text("\nforbiddenfruit==0.1.4\n")
    asked: list[tuple[str, ...]] = []

    def run(*command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(check, "_run", run)
    found = check.select(check.Case("x.txt", "3.11", check.LINUX[0]), tmp_path)
    assert (found.state, "forbiddenfruit" in found.detail, "--no-binary" in asked[0]) == ("ok", True, True)
