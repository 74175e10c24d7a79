"""`dyff login`, `logout` and `whoami`, and which server and token the commands use."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest

from dyff.cli import connecting, credentials, reporting, sign_in_commands, terminals
from dyff.cli.credentials import Credentials
from tests.cli.test_commands import CALLER, ID, TOKEN, dyff_command

__all__ = ["dyff_command"]

HERE, ELSEWHERE = "http://127.0.0.1:8000/v0", "https://dyff.example/v0"


@pytest.fixture
def signed_out(dyff_command, monkeypatch):
    """A user without a token."""
    monkeypatch.delenv("DYFF_API_TOKEN")
    return dyff_command


def keep(current=ELSEWHERE, **tokens):
    """Put tokens into the file: `here` and `elsewhere`."""
    known = {"here": HERE, "elsewhere": ELSEWHERE}
    credentials.write(credentials.place(), Credentials(current, {known[name]: token for name, token in tokens.items()}))


def sent_to(command):
    """The servers that were asked, each with its token."""
    return [(f"{each.url.scheme}://{each.url.netloc.decode()}/v0", each.headers["Authorization"]) for each in command.asked]


def test_a_token_is_checked_and_then_stored(signed_out):
    """From standard input; it is printed nowhere, and the server is in use from now on."""
    done = signed_out("login", "https://dyff.example", answers={"/caller": CALLER}, typed=f"{TOKEN}\n")
    assert done.exit_code == 0, done.output
    assert "signed in to https://dyff.example as auditor (me), until 2127" in done.output
    assert TOKEN not in done.output
    assert credentials.read(credentials.place()) == Credentials(ELSEWHERE, {ELSEWHERE: TOKEN})
    signed_out("ls", "models", answers={"/models": []})
    assert sent_to(signed_out) == [(ELSEWHERE, f"Bearer {TOKEN}")] * 2


@pytest.mark.parametrize(
    ("typed", "status", "code"),
    [(f"{TOKEN}\n", 401, reporting.NOT_SIGNED_IN), ("", 200, reporting.WRONG), ("a b\n", 200, reporting.WRONG),
     ("\x1b[2J\n", 200, reporting.WRONG),
     ("dyff-invite-x\n", 200, reporting.WRONG), ("x" * (sign_in_commands.MAX_TOKEN_CHARS + 1), 200, reporting.WRONG)],
    ids=["refused", "none", "words", "control", "invitation", "long"],
)  # fmt: skip
def test_what_is_no_token_is_not_stored(signed_out, typed, status, code):
    """What was stored before stays, and the text is not repeated."""
    keep(elsewhere="t1")
    done = signed_out("login", "https://dyff.example", typed=typed, status=status)
    assert done.exit_code == code, done.output
    assert credentials.read(credentials.place()).tokens == {ELSEWHERE: "t1"}
    assert "\x1b" not in done.output
    assert len(done.output) < 1000


@pytest.mark.parametrize(
    ("url", "warned"),
    [("http://dyff.example", True), ("http://10.0.0.1:8000", True), ("https://dyff.example", False), ("http://127.0.0.1:1", False),
     ("http://[::1]:1", False), ("http://localhost:8000", False)],
)  # fmt: skip
def test_a_connection_that_others_can_read_is_warned_about(signed_out, url, warned):
    """Before the token is asked for; this machine is no other."""
    done = signed_out("login", url, answers={"/caller": CALLER}, typed=f"{TOKEN}\n")
    assert (done.exit_code, "is not encrypted" in done.output) == (0, warned)


def test_a_person_is_asked_without_an_echo(signed_out, monkeypatch):
    """At a terminal."""
    asked: dict[str, Any] = {}

    def prompt(text, **options):
        asked.update(options, text=text)
        return TOKEN

    monkeypatch.setattr(terminals, "is_person", lambda: True)
    monkeypatch.setattr(click, "prompt", prompt)
    assert signed_out("login", answers={"/caller": CALLER}).exit_code == 0
    assert asked["hide_input"]
    assert "http://127.0.0.1:8000" in asked["text"]


def test_a_token_is_no_argument():
    """It would be in the list of processes and in the history of the shell."""
    names = {name for each in sign_in_commands.login.params for name in each.opts}
    assert not [name for name in names if "token" in name]


WHERE = {
    "nothing": ({}, [], HERE, None),
    "the file": ({}, ["elsewhere"], ELSEWHERE, "elsewhere"),
    "a server of the environment": ({"DYFF_API_ENDPOINT": HERE}, ["elsewhere", "here"], HERE, "here"),
    "one without a token": ({"DYFF_API_ENDPOINT": HERE}, ["elsewhere"], HERE, None),
    "a token of the environment": ({"DYFF_API_TOKEN": "set"}, ["elsewhere"], HERE, "set"),
    "both": ({"DYFF_API_TOKEN": "set", "DYFF_API_ENDPOINT": ELSEWHERE}, ["elsewhere"], ELSEWHERE, "set"),
}


@pytest.mark.parametrize(("environment", "kept", "endpoint", "token"), WHERE.values(), ids=WHERE)
def test_which_server_and_which_token(signed_out, monkeypatch, environment, kept, endpoint, token):
    """The environment before the file; a token of the environment goes to no server that only the file names."""
    keep(**{name: name for name in kept})
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = connecting.source()
    assert (found.endpoint, found.token) == (endpoint, token)
    assert token is None or token not in repr(found)


def test_an_option_is_before_the_environment(signed_out, monkeypatch):
    """With the token that was stored for that server."""
    keep(here="h", elsewhere="e")
    monkeypatch.setenv("DYFF_API_ENDPOINT", HERE)
    signed_out("ls", "models", "--endpoint", "https://dyff.example", answers={"/models": []})
    assert sent_to(signed_out) == [(ELSEWHERE, "Bearer e")]


def test_a_file_of_others_stops_every_command(signed_out):
    """Nothing is sent; a program that sets the token itself does not need the file."""
    keep(elsewhere="t1")
    credentials.place().chmod(0o644)
    done = signed_out("ls", "models")
    assert (done.exit_code, "chmod 600" in done.output, signed_out.asked) == (reporting.NOT_SIGNED_IN, True, [])
    assert signed_out("ls", "models", "--endpoint", HERE).exit_code == reporting.NOT_SIGNED_IN


def test_signing_out_removes_the_token(signed_out):
    """Of the server in use, or of the one that is named; the others stay."""
    keep(here="h", elsewhere="e")
    done = signed_out("logout")
    assert (done.exit_code, "signed out of https://dyff.example" in done.output) == (0, True)
    assert credentials.read(credentials.place()) == Credentials(None, {HERE: "h"})
    assert signed_out("logout").exit_code == reporting.NOT_SIGNED_IN
    assert signed_out("logout", "http://127.0.0.1:8000").exit_code == 0
    assert signed_out("logout", "http://127.0.0.1:8000").exit_code == reporting.NOT_SIGNED_IN
    assert signed_out.asked == []


def test_signing_out_can_revoke_the_token(signed_out):
    """On the server, first: if that fails, the token stays, so that it can be tried again."""
    keep(elsewhere=TOKEN)
    assert signed_out("logout", "--revoke", status=503).exit_code == reporting.NO_SERVER
    assert credentials.read(credentials.place()).tokens == {ELSEWHERE: TOKEN}
    answers = {"/caller": CALLER, "/accounts/me/tokens/t1": None}
    assert signed_out("logout", "--revoke", answers=answers).exit_code == 0
    assert [(each.method, each.url.path) for each in signed_out.asked][-1] == ("DELETE", "/v0/accounts/me/tokens/t1")
    assert credentials.read(credentials.place()).tokens == {}


def test_who_one_is_says_where_the_token_comes_from(signed_out):
    """And warns when it expires soon; `dyff login --status` is the same."""
    keep(elsewhere="e")
    soon = {**CALLER, "expires": "2020-01-01T00:00:00Z"}
    shown = signed_out("whoami", "--json", answers={"/caller": soon})
    found = json.loads(shown.stdout)
    assert (found["endpoint"], found["account"], found["tokenFrom"]) == (ELSEWHERE, "me", str(credentials.place()))
    status = signed_out("login", "--status", answers={"/caller": soon})
    assert "the token expires in 0.0 days" in status.stderr
    assert "* of accounts me" in status.stdout


def test_a_token_of_a_session_has_a_subject(signed_out):
    """It belongs to no account."""
    keep(elsewhere="e")
    of_session = {**CALLER, "subject": f"InferenceSession/{ID}", "account": None, "name": None}
    done = signed_out("whoami", answers={"/caller": of_session})
    assert (done.exit_code, f"InferenceSession/{ID}" in done.output) == (0, True)
