"""Commands that change something, and those that lead elsewhere: label, terminate, delete, publish, open, compare, completion."""

from __future__ import annotations

import json
import subprocess
import sys
import webbrowser

import click
import msgspec
import pytest
from click.shell_completion import ShellComplete

from dyff.cli import connecting, invitation_commands, main, reporting, terminals
from dyff.entities import invitations
from dyff.sdk import client as clients
from dyff.serve import cli
from tests.cli.test_commands import ENTITY, ID, dyff_command
from tests.entities import test_comparisons

__all__ = ["dyff_command"]

OTHER = "b" * 32
DELETED = {"status": "Deleted", "reason": "DeleteCommand"}


def changed(command):
    """Method, path and body of the requests that change something."""
    return [
        (each.method, each.url.path.removeprefix("/v0"), json.loads(each.content or "null"))
        for each in command.asked
        if each.method != "GET"
    ]


def test_labels_are_set_and_removed(dyff_command):
    """In one request, and what the entity has afterwards is shown."""
    answers = {f"/evaluations/{ID}": {**ENTITY, "labels": {"a": "1=2", "b": ""}}, f"/evaluations/{ID}/labels": {}}
    done = dyff_command("label", "evaluation", ID, "a=1=2", "b=", "c-", answers=answers)
    assert (done.exit_code, done.stdout) == (0, "a  1=2\n")
    assert changed(dyff_command) == [("PATCH", f"/evaluations/{ID}/labels", {"labels": {"a": "1=2", "b": "", "c": None}})]
    assert json.loads(dyff_command("label", "evaluation", ID, "--json", answers=answers).stdout) == {"a": "1=2", "b": ""}
    assert len(changed(dyff_command)) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [(["a=1"], "give the ID"), ([ID, "=1"], "'=1' is no change"), ([ID, "a=1", "a-"], "'a' is there twice"),
     (["model", ID, "a"], "one ID is expected"),
     ([ID, "-"], "'-' is no change")],
)  # fmt: skip
def test_what_is_no_change_of_labels(dyff_command, words, message):
    """Nothing is sent."""
    done = dyff_command("label", "--", *words)
    assert (done.exit_code, dyff_command.asked) == (reporting.WRONG, [])
    assert message in done.output


def test_without_a_terminal_a_deletion_needs_yes(dyff_command):
    """Nothing is changed without it."""
    answers = {f"/models/{ID}": ENTITY, f"/models/{ID}/delete": DELETED}
    refused = dyff_command("delete", "model", ID, answers=answers)
    assert (refused.exit_code, "add --yes" in refused.output, changed(dyff_command)) == (reporting.WRONG, True, [])
    done = dyff_command("delete", "model", ID, "--yes", answers=answers)
    assert (done.exit_code, "Deleted" in done.output) == (0, True)
    assert [each[:2] for each in changed(dyff_command)] == [("PUT", f"/models/{ID}/delete")]


@pytest.mark.parametrize(("answer", "code", "puts"), [("y\n", 0, 1), ("n\n", reporting.NOT_CONFIRMED, 0), ("", reporting.INTERRUPTED, 0)])
def test_a_person_is_asked(dyff_command, monkeypatch, answer, code, puts):
    """With what it is about; anything but yes changes nothing."""
    monkeypatch.setattr(terminals, "is_person", lambda: True)
    answers = {f"/evaluations/{ID}": ENTITY, f"/evaluations/{ID}/delete": DELETED}
    done = dyff_command("delete", "evaluation", ID, answers=answers, typed=answer)
    assert (done.exit_code, len(changed(dyff_command))) == (code, puts), done.output
    assert f"Evaluation {ID}, Complete, of me" in done.stderr
    assert "cannot be undone" in done.stderr


def test_each_of_several_has_its_result(dyff_command):
    """One that fails does not prevent the others; the exit code says that not all were done."""
    answers = {f"/models/{OTHER}/delete": DELETED}
    done = dyff_command("delete", "models", ID, OTHER, "--yes", "--json", answers=answers)
    found = json.loads(done.stdout)
    assert [(each["id"], each["status"]) for each in found] == [(ID, None), (OTHER, "Deleted")]
    assert "not there" in found[0]["error"]
    assert (done.exit_code, "1 of 2 was refused" in done.stderr) == (reporting.FAILED, True)
    assert dyff_command("delete", "models", ID, "--yes", answers=answers).exit_code == reporting.MISSING


def test_only_sessions_are_terminated(dyff_command):
    """Others are deleted; the message says so."""
    done = dyff_command("terminate", "evaluation", ID, "--yes")
    assert (done.exit_code, "delete them instead" in done.output, dyff_command.asked) == (2, True, [])
    answers = {f"/inferencesessions/{ID}/terminate": {"status": "Terminated", "reason": "TerminateCommand"}}
    assert "Terminated" in dyff_command("terminate", ID, "--yes", answers=answers).output


@pytest.mark.parametrize(
    ("flag", "label"), [((), "public"), (("--public",), "public"), (("--preview",), "internal"), (("--unpublish",), None)]
)
def test_publishing_sets_who_can_see_it(dyff_command, flag, label):
    """As the SDK's `publish`, and prints where."""
    done = dyff_command("publish", "evaluation", ID, *flag, answers={f"/evaluations/{ID}/labels": {}})
    assert done.exit_code == 0, done.output
    assert changed(dyff_command) == [("PATCH", f"/evaluations/{ID}/labels", {"labels": {"dyff.io/access": label}})]
    assert done.stdout == f"http://127.0.0.1:8000/#/evaluations/{ID}\n"


@pytest.mark.parametrize(("browser", "noted"), [(True, False), (False, True)])
def test_opening_prints_the_address(dyff_command, monkeypatch, browser, noted):
    """With a browser and without one; of a safety case its page, which needs no console. No address has a token."""
    opened = []

    def show(url):
        opened.append(url)
        return browser

    monkeypatch.setattr(webbrowser, "open", show)
    page = dyff_command("open", "safetycase", ID)
    assert (page.stdout, "no browser" in page.stderr) == (f"http://127.0.0.1:8000/safetycases/{ID}\n", noted)
    assert dyff_command("open", "safetycase", ID, "--console", "--print").stdout == f"http://127.0.0.1:8000/#/safetycases/{ID}\n"
    assert opened == [f"http://127.0.0.1:8000/safetycases/{ID}"]


@pytest.mark.parametrize("words", [[ID], [ID] * 9, ["x", ID]])
def test_from_two_to_eight_are_compared(dyff_command, words):
    """Others are refused at once."""
    done = dyff_command("compare", *words)
    assert (done.exit_code, dyff_command.asked) == (2, [])


@pytest.mark.parametrize(
    ("shown", "words"), [({}, "no difference shown"), ({"better": "a" * 32, "higher": "a" * 32}, "A is better")], ids=["tie", "better"]
)
def test_a_comparison_says_what_is_shown(dyff_command, shown, words):
    """The difference with its interval, and a verdict that ranks no tie; names of others are harmless."""
    systems = [test_comparisons.system("a", name="A\x1b[2J\u202e"), test_comparisons.system("b")]
    found = test_comparisons.compared(systems, [test_comparisons.pair("a", "b", **shown)])
    answers = {"/comparisons": msgspec.to_builtins(found)}
    done = dyff_command("compare", ID, OTHER, "--score", "right", answers=answers)
    assert done.exit_code == 0, done.output
    assert f"B - A = -0.0625 (95 % interval -0.25 to 0.125), p = 0.03: {words}" in done.stdout
    assert not [char for char in done.stdout if not char.isprintable() and char != "\n"]
    assert dict(dyff_command.asked[0].url.params) == {"ids": f"{ID},{OTHER}", "score": "right"}
    assert json.loads(dyff_command("compare", ID, OTHER, "--json", answers=answers).stdout)["pairs"][0]["difference"] == -0.0625


def test_the_days_of_an_invitation_are_those_of_the_server():
    """They are written twice, so that no command has to import them."""
    assert (invitation_commands.DEFAULT_DAYS, invitation_commands.MOST_DAYS) == (invitations.DEFAULT_DAYS, invitations.MAX_DAYS)


def complete(group, *words, incomplete=""):
    """What a shell would offer."""
    return ShellComplete(group, {}, "dyff", "_DYFF_COMPLETE").get_completions(list(words), incomplete)


@pytest.mark.parametrize("group", [main.client, cli.main], ids=["client", "server"])
def test_commands_kinds_and_ids_are_completed(dyff_command, monkeypatch, group):
    """IDs are those of the newest, each with its name, on one line and harmless."""
    dyff_command("whoami", answers={"/models": [{**ENTITY, "name": "a\x1b[2J\nplain,evil", "artifact": {"kind": "x"}}]})
    assert "samples" in [each.value for each in complete(group, incomplete="sam")]
    assert [each.value for each in complete(group, "get", incomplete="eval")] == ["evaluations"]
    assert [each.value for each in complete(group, "ls", incomplete="safe")] == ["safetycases"]
    monkeypatch.setattr(clients._Server, "apigroup", lambda *_: _Newest())
    found = complete(group, "get", "models", incomplete="a")
    assert [(each.value, each.help) for each in found] == [(ID, "Ready a\\x1b[2J plain,evil")]


class _Newest:
    def query(self, **_):
        entity = type("Entity", (), {"id": ID, "status": "Ready", "name": "a\x1b[2J\nplain,evil"})
        return [entity, type("Entity", (), {"id": OTHER})]


def test_completion_never_fails(dyff_command, monkeypatch):
    """Whatever is wrong, there is nothing to offer: a shell would print it into the line."""
    dyff_command("whoami", status=500)
    assert complete(main.client, "get", "models", incomplete="a") == []
    monkeypatch.delenv("DYFF_API_TOKEN")
    assert complete(main.client, "get", "models", incomplete="a") == []
    monkeypatch.setattr(connecting, "source", lambda: 1 / 0)
    assert complete(main.client, "get", "models", incomplete="a") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(dyff_command, shell):
    """With the name of the command, and of the variable that it sets."""
    done = dyff_command("completion", shell)
    assert done.exit_code == 0, done.output
    assert f"_DYFF_COMPLETE={shell}_complete" in done.stdout
    assert "%(" not in done.stdout


def test_bash_takes_it():
    """It is a script without errors, and registers the completion of `dyff`."""
    script = "eval \"$(%s -c \"from dyff.cli.main import client; client(['completion', 'bash'], prog_name='dyff')\")\" && complete -p dyff"
    done = subprocess.run(["bash", "-c", script % sys.executable], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()[-1], done.stderr) == (0, "dyff", "")


def test_every_command_takes_an_address():
    """Those of groups, too; but for those that ask no server, or have it as an argument."""

    def leaves(command):
        return [each for sub in command.commands.values() for each in leaves(sub)] if isinstance(command, click.Group) else [command]

    without = [each.name for each in leaves(main.client) if not [p for p in each.params if "--endpoint" in p.opts]]
    assert sorted(without) == sorted(connecting.WITHOUT_OPTION)
