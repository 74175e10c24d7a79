"""The commands that use a server, against answers as a server gives them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

import dyff.sdk
from dyff.cli import commands, main, reporting, server_commands
from dyff.kernel import descriptors
from dyff.sdk import client as clients
from dyff.serve import cli

ID = "a" * 32
CLAIMS = {
    "sub": "Account/me",
    "jti": "t1",
    "exp": 1_800_000_000,
    "grants": [{"resources": ["*"], "functions": ["get"], "accounts": ["me"]}],
}
TOKEN = ".".join(base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in ({"alg": "HS256"}, CLAIMS)) + ".c2ln"
"""Of the account `me`, with one grant."""
SESSION = {
    "inferenceService": {
        "id": "b" * 32,
        "account": "me",
        "name": "mock",
        "interface": {"endpoint": "x", "outputSchema": {"arrowSchema": ""}},
    }
}
ENTITY = {
    "id": ID, "account": "me", "kind": "Evaluation", "status": "Complete", "creationTime": "2026-01-01T00:00:00Z", "dataset": "d",
    "inferenceSession": SESSION, "message": "\x1b[2Jall\nis \u202ewell",
}  # fmt: skip
CALLER = {
    "subject": "Account/me", "token": "t1", "expires": "2127-01-15T08:00:00Z", "account": "me", "name": "auditor",
    "grants": CLAIMS["grants"],
}  # fmt: skip
LINE = {"timestamp": "2026-01-01T00:00:00Z", "message": "\x1b]0;owned\x07hello\r\nthere", "labels": {}}


@dataclass
class Command:
    """Runs a command; `asked`: the requests that it sent."""

    run: Callable[..., Result]
    asked: list[httpx.Request]

    def __call__(self, *arguments: str, **given: Any) -> Result:
        return self.run(*arguments, **given)


@pytest.fixture
def dyff_command(monkeypatch, tmp_path):
    """Runs a command against a server whose answers are given by path; the requests are in `.asked`."""
    monkeypatch.setenv("DYFF_API_TOKEN", TOKEN)
    monkeypatch.delenv("DYFF_API_ENDPOINT", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    asked: list[httpx.Request] = []

    def run(*arguments, answers=None, status=200, detail=None, group=main.client, charset="utf-8", typed=None):
        def answer(request):
            asked.append(request)
            if status != 200:
                return httpx.Response(status, json={"detail": detail or "no"})
            path = request.url.path.removeprefix("/v0")
            return httpx.Response(200, json=answers[path]) if path in (answers or {}) else httpx.Response(404, json={"detail": "not there"})

        class Client(clients.Client):
            def __init__(self, **given):
                super().__init__(**{**given, "http": httpx.MockTransport(answer), "retries": 0})

        monkeypatch.setattr(dyff.sdk, "Client", Client)
        return CliRunner(charset=charset).invoke(group, list(arguments), input=typed)

    return Command(run, asked)


def test_whoami_shows_the_token_and_asks_the_server(dyff_command):
    """The account, the grants and the expiry; a server that knows the token has answered."""
    done = dyff_command(
        "whoami",
        answers={"/caller": CALLER},
    )
    assert done.exit_code == 0, done.output
    assert ["account", "me"] in [line.split() for line in done.output.splitlines()]
    assert "* of accounts me" in done.output
    assert "2127-01-15T08:00:00Z" in done.output
    assert "c2ln" not in done.output  # the signature
    assert [each.url.path for each in dyff_command.asked] == ["/v0/caller"]


@pytest.mark.parametrize("kind", ["evaluation", "evaluations", "Evaluation", "EVALUATIONS"])
def test_a_kind_has_several_names(dyff_command, kind):
    """The name and the plural, in any case."""
    done = dyff_command("get", kind, ID, answers={f"/evaluations/{ID}": ENTITY})
    assert done.exit_code == 0, done.output
    assert "Complete" in done.output


def test_texts_of_others_do_not_move_the_cursor(dyff_command):
    """Escape sequences, line breaks and characters that reorder text are escaped, in tables, logs and JSON."""
    answers = {f"/evaluations/{ID}": ENTITY, "/evaluations": [ENTITY], f"/evaluations/{ID}/logs/workflow": {"workflow": {}, "logs": [LINE]}}
    for command in (
        ["get", "evaluation", ID],
        ["ls", "evaluations"],
        ["logs", "evaluation", ID],
        ["get", "evaluation", ID, "--json"],
        ["logs", "evaluation", ID, "--json"],
    ):
        done = dyff_command(*command, answers=answers)
        assert done.exit_code == 0, done.output
        assert not [char for char in done.output if not char.isprintable() and char != "\n"], command
    assert len(dyff_command("logs", "evaluation", ID, answers=answers).output.splitlines()) == 1


def test_json_is_what_the_server_has(dyff_command):
    """One line that a program can read, with the values as they are."""
    done = dyff_command("get", "evaluation", ID, "--json", answers={f"/evaluations/{ID}": ENTITY})
    found = json.loads(done.output)
    assert {key: found[key] for key in ENTITY if key != "inferenceSession"} == {
        key: ENTITY[key] for key in ENTITY if key != "inferenceSession"
    }
    listed = dyff_command("ls", "evaluations", "--json", answers={"/evaluations": [ENTITY, ENTITY]})
    assert [each["id"] for each in json.loads(listed.output)] == [ID, ID]
    empty = dyff_command("ls", "evaluations", "--json", answers={"/evaluations": []})
    assert json.loads(empty.output) == []


ODD = "a\x7f\x85\xa0\xad\u2028\U000e0001\ud83d\ude00é日"


@pytest.mark.parametrize("charset", ["utf-8", "cp1252", "latin-1", "cp437"])
def test_json_is_parsed_to_the_same_text_in_every_charset(dyff_command, charset):
    """What a terminal should not get is escaped as JSON escapes it, and so is what the output's character set lacks."""
    text = ODD.encode("utf-16", "surrogatepass").decode("utf-16")
    answers = {f"/evaluations/{ID}": {**ENTITY, "message": text}}
    done = dyff_command("get", "evaluation", ID, "--json", answers=answers, charset=charset)
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout_bytes.decode(charset))["message"] == text


@pytest.mark.parametrize("charset", ["utf-8", "cp1252", "latin-1", "cp437"])
def test_text_is_shown_in_every_charset(charset):
    """Windows has an old character set where the output is a file or a pipe; what it lacks is escaped."""
    code = "from dyff.cli import reporting as r\nr.prepare()\nr.line('a\u65e5')\nr.Ended('b\u65e5', 1).show()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env={**os.environ, "PYTHONIOENCODING": charset}, check=True)
    shown = "日".encode(charset, "backslashreplace")
    assert (done.stdout.split(), done.stderr.split()) == ([b"a" + shown], [b"dyff:", b"b" + shown])


def test_output_that_cannot_be_written_is_one_line():
    """A full disk, for instance."""
    code = "import click; from dyff.cli import reporting; click.Command('x', callback=lambda: reporting.document({}))()"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (reporting.FAILED, "dyff: the output cannot be written: No space left on device\n")


def test_a_list_is_asked_for_with_its_filters(dyff_command):
    """Newest first, and never more than the limit."""
    done = dyff_command("ls", "evaluations", "--status", "Complete", "--label", "a=b=c", "--limit", "1", answers={"/evaluations": [ENTITY]})
    assert done.exit_code == 0, done.output
    params = dict(dyff_command.asked[0].url.params)
    assert (params["status"], params["limit"], params["order"], json.loads(params["labels"])) == (
        "Complete",
        "1",
        "descending",
        {"a": "b=c"},
    )
    assert "--limit prints more" in done.output


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, reporting.WRONG), (401, reporting.NOT_SIGNED_IN), (403, reporting.NOT_ALLOWED), (404, reporting.MISSING),
        (409, reporting.CONFLICT),
        (410, reporting.MISSING), (422, reporting.WRONG), (429, reporting.NO_SERVER), (500, reporting.FAILED), (503, reporting.NO_SERVER),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "command", [["get", "model", ID], ["ls", "models"], ["logs", "model", ID], ["whoami"], ["wait", "model", ID]], ids=lambda each: each[0]
)
@pytest.mark.parametrize("group", [main.client, cli.main], ids=["client", "server"])
def test_an_error_is_one_line_with_an_exit_code(dyff_command, command, status, code, group):
    """The same with the server's package and without it; what the server says is shown, harmlessly."""
    done = dyff_command(*command, status=status, detail="because \x1b[31mof this\nand that", group=group)
    assert done.exit_code == code, done.output
    assert isinstance(done.exception, SystemExit)
    assert done.output.startswith("dyff: ")
    assert "\x1b" not in done.output
    assert "of this" in done.output


@pytest.mark.parametrize("token", [None, ""])
def test_a_token_that_is_missing_is_asked_for(dyff_command, monkeypatch, token):
    """Nothing is sent, and the message says how to sign in."""
    if token is None:
        monkeypatch.delenv("DYFF_API_TOKEN")
    else:
        monkeypatch.setenv("DYFF_API_TOKEN", token)
    done = dyff_command("whoami")
    assert done.exit_code == reporting.NOT_SIGNED_IN
    assert "dyff login http://127.0.0.1:8000" in done.output
    assert "DYFF_API_TOKEN" in done.output
    assert dyff_command.asked == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ls", "evalations"], "did you mean 'evaluations'?"),
        (["logs", "dataset", ID], "datasets have no logs"),
        (["download", "inferenceservice", ID, "x"], "have no files to download"),
        (["download", "dataset", ID, "x", "--incomplete"], "datasets have no incomplete files"),
        (["ls", "models", "--label", "x"], "KEY=VALUE"),
        (["ls", "models", "--limit", "0"], "--limit"),
        (["logs", "model", ID, "-f", "--since", "1h"], "leave out --since"),
        (["get", "model", ""], "the ID is empty"),
        (["get", "model", "\udcff"], "is not UTF-8"),
        (["ls", "models", "--label", "a=1", "--label", "a=2"], "'a' is there twice"),
        (["wait", "model", ID, "--timeout", "nan"], "--timeout"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(dyff_command, arguments, words):
    """With exit code 2, and what to do; nothing is sent."""
    done = dyff_command(*arguments)
    assert done.exit_code == 2
    assert words in done.output
    assert dyff_command.asked == []


def test_a_destination_that_exists_is_kept(dyff_command, tmp_path):
    """The error says so, and nothing is fetched into it."""
    done = dyff_command("download", "evaluation", ID, str(tmp_path), answers={f"/evaluations/{ID}/downlinks": []})
    assert (done.exit_code, "already exists" in done.output, list(tmp_path.iterdir())) == (reporting.FAILED, True, [])


def test_a_failed_workflow_ends_the_waiting_with_an_error(dyff_command):
    """Its status, and the server's reason."""
    failed = {**ENTITY, "status": "Failed", "reason": "ImageRefused", "message": "no such image"}
    done = dyff_command("wait", "evaluation", ID, "--quiet", answers={f"/evaluations/{ID}": failed})
    assert (done.exit_code, "ended as Failed (ImageRefused): no such image" in done.output) == (reporting.WORKFLOW_FAILED, True)


def test_waiting_ends_when_the_time_is_over(dyff_command):
    """The exit code says that it continues."""
    running = {**ENTITY, "status": "Admitted"}
    done = dyff_command("wait", "evaluation", ID, "--quiet", "--timeout", "0", answers={f"/evaluations/{ID}": running})
    assert (done.exit_code, "still Admitted" in done.output) == (reporting.TIME_OVER, True)


def test_ctrl_c_says_how_to_wait_again(dyff_command, monkeypatch):
    """As a command, not as a call of the SDK."""

    def interrupted(*_given, **_named):
        raise KeyboardInterrupt("no longer waiting")

    monkeypatch.setattr(clients.Client, "apigroup", lambda *_: types.SimpleNamespace(wait=interrupted))
    done = dyff_command("wait", "evaluations", ID)
    assert (done.exit_code, done.output) == (reporting.INTERRUPTED, f"dyff: interrupted; `dyff wait evaluation {ID}` waits again\n")


def test_the_names_of_the_servers_commands():
    """Those that the client explains are those that the server has, and no name is used twice."""
    own = {each.name for each in commands.ALL}
    assert set(server_commands.NAMES) | own == set(cli.main.commands)
    assert not own & set(server_commands.NAMES)
    assert list(server_commands.NAMES) == sorted(server_commands.NAMES)


def test_a_command_that_uses_a_server_changes_nothing_of_the_process(dyff_command, monkeypatch):
    """The server's start sets the mask for new files, for instance; a download has the user's own."""
    monkeypatch.setattr(descriptors, "fill_standard", lambda: pytest.fail("that is for the server's commands"))
    done = dyff_command("ls", "models", answers={"/models": []}, group=cli.main)
    assert done.exit_code == 0, done.output


SCORE = {
    "id": "c" * 32, "name": "rate", "title": "Rate", "summary": "How often", "analysis": ID, "quantity": 0.5, "quantityString": "0.5",
    "text": "half",
}  # fmt: skip


def test_an_export_is_printed_or_written(dyff_command, tmp_path):
    """The same JSON; the file is replaced, and what the exporter states is added."""
    answers = {f"/datasets/{ID}/croissant": {"name": "grün"}}
    assert json.loads(dyff_command("export", "croissant", ID, answers=answers).output) == {"name": "grün"}
    file = tmp_path / "croissant.json"
    file.write_text("old")
    stated = dyff_command("export", "croissant", ID, "--license", "https://l", "-o", str(file), answers=answers)
    assert (stated.output, json.loads(file.read_text())) == (f"{file}\n", {"name": "grün", "license": "https://l"})


def test_provenance_takes_the_id_of_a_score(dyff_command):
    """It is that of the analysis that has the score; other IDs are those of entities, whatever their kind."""
    scored = {"/safetycases/scores": [], "/measurements/scores": [SCORE], f"/measurements/{ID}/provenance": {"entity": {}}}
    assert json.loads(dyff_command("export", "provenance", SCORE["id"], answers=scored).output) == {"entity": {}}
    none: dict[str, Any] = {"/safetycases/scores": [], "/measurements/scores": []}
    plain = {**none, f"/evaluations/{ID}": ENTITY, f"/evaluations/{ID}/provenance": {"used": {}}}
    assert json.loads(dyff_command("export", "provenance", ID, answers=plain).output) == {"used": {}}


def test_an_export_of_nothing_says_what_was_sought(dyff_command):
    """Exit code 5 if it is of none of the kinds, 4 if the token may not see any."""
    missing = dyff_command("export", "eee", ID)
    assert (missing.exit_code, f"there is no safetycase or measurement with the ID {ID}" in missing.output) == (reporting.MISSING, True)
    refused = dyff_command("export", "provenance", ID, status=403, detail="no grant")
    assert (refused.exit_code, "no grant" in refused.output) == (reporting.NOT_ALLOWED, True)
