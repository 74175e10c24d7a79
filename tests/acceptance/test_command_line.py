"""The command line as an auditor and an operator use it, on a server: docs/command-line.md, what a terminal shows, and exit codes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest

from dyff.cli import reporting
from dyff.sdk import Client
from tests.acceptance import forks
from tests.acceptance.conftest import DYFF, plain_environment
from tests.cli.test_tables import ID

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/command-line.md").read_text()
HOSTILE = "prompts\x1b[2J\u202eevil 日本語"
ASKS = re.compile(rb"(\[y/N\]|not shown\)): $")
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class User:
    """A user of the command: with a home directory, and signed in or not."""

    def __init__(self, home: Path) -> None:
        self.environment = plain_environment() | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "TERM": "xterm-256color"}
        self.environment["PATH"] = f"{Path(DYFF).parent}:{os.environ['PATH']}"
        self.file = home / "config/dyff/credentials.json"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command whose output is no terminal."""
        return forks.run([DYFF, *arguments], self.environment)

    def ok(self, *arguments: str) -> str:
        """What a command prints that succeeds."""
        done = self.run(*arguments)
        assert done.returncode == 0, (arguments, done.stderr, done.stdout)
        return done.stdout

    def on_terminal(self, columns: int, *arguments: str, typed: str = "", **environment: str) -> tuple[int, str]:
        """The exit code of a command on a terminal, and all that it shows there. `typed`: keys, when it asks."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = subprocess.Popen(
            [DYFF, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=self.environment | environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C reaches it
        )  # fmt: skip
        os.close(theirs)
        shown, keys = b"", typed.encode()
        while True:
            if keys and ASKS.search(shown):
                os.write(ours, keys)
                keys = b""
            try:
                piece = os.read(ours, 65536)
            except OSError:  # nobody has the other end any more
                break
            if not piece:
                break
            shown += piece
        os.close(ours)
        return process.wait(), shown.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def user(server, account, tmp_path_factory):
    """The environment of a person who has signed in: `dyff login` read the token from standard input."""
    made = User(tmp_path_factory.mktemp("home"))
    token = server.command("token", "create", "--account", account)
    done = subprocess.run(
        [DYFF, "login", server.endpoint], input=f"{token}\n", env=made.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert token not in done.stdout + done.stderr
    assert made.file.stat().st_mode & 0o777 == 0o600
    return made


@pytest.fixture(scope="module")
def audit(server, user, account, prompts, service_request):
    """An evaluation that is complete, one that waits for its dataset, one that has failed, and what they are made of: IDs by name."""
    token = json.loads(user.file.read_text())["servers"][server.endpoint]["token"]
    with Client(endpoint=server.endpoint, api_token=token) as client:
        dataset = client.datasets.create_arrow_dataset(prompts, account=account, name=HOSTILE)
        client.datasets.upload_arrow_dataset(dataset, prompts, progress=False)
        spare = client.datasets.create_arrow_dataset(prompts, account=account, name="spare")
        missing = client.datasets.create_arrow_dataset(prompts, account=account, name="not uploaded")
        service = client.inferenceservices.create(service_request(account))
        wrong = client.inferenceservices.create(service_request(account, endpoint="errors/400", name="refuses"))

        def evaluation(data, system, **more):
            session = {"inferenceService": system.id}
            request: Any = {"account": account, "dataset": data.id, "inferenceSession": session, **more}
            return client.evaluations.create(request).id

        made = {
            "EVALUATION": evaluation(dataset, service, replications=2), "WAITING": evaluation(missing, service),
            "FAILED": evaluation(dataset, wrong), "SKIPPED": evaluation(dataset, wrong, client={"badRequestPolicy": "Skip"}),
            "DATASET": dataset.id, "MISSING": missing.id, "SERVICE": service.id, "SPARE": spare.id,
        }  # fmt: skip
        client.evaluations.wait(made["EVALUATION"], progress=False)
        client.evaluations.wait(made["SKIPPED"], progress=False)
    return made


def test_the_examples_of_the_page_run(user, audit, tmp_path):
    """As they are written, in their order, in a shell; IDs are variables of that shell."""
    lines = "".join(_BLOCK.findall(PAGE))
    script = "\n".join([*(f"{name}={value}" for name, value in audit.items()), f"cd {tmp_path}", "set -euo pipefail", lines])
    done = subprocess.run(["bash", "-c", script], env=user.environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert lines.count("\ndyff ") > 12
    assert (tmp_path / "outputs").is_dir()


@pytest.mark.parametrize("columns", [80, 140])
def test_what_a_terminal_shows_fits(user, audit, columns):
    """No line of a table is wider; whole IDs are there; what others wrote is harmless, and statuses have colours."""
    some = ["samples", audit["EVALUATION"], "--limit", "3"]
    for arguments in (["ls", "datasets"], ["ls", "evals"], some, ["get", "dataset", audit["DATASET"]]):
        code, shown = user.on_terminal(columns, *arguments)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
        assert code == 0, shown
        assert all(each.isprintable() for each in plain.splitlines()), plain
        assert max(map(len, plain.splitlines())) <= columns, plain
    _, shown = user.on_terminal(columns, "ls", "datasets")
    assert audit["DATASET"] in shown
    assert "\x1b[32mReady" in shown
    assert "\x1b" not in user.on_terminal(columns, "ls", "datasets", NO_COLOR="1")[1]
    assert "\x1b" not in user.on_terminal(columns, "ls", "datasets", TERM="dumb")[1]


def test_what_a_pipe_has_is_whole(user, audit):
    """Nothing is cut and nothing coloured; notes are on standard error."""
    done = user.run("ls", "datasets", "--limit", "1", "--name", "not uploaded")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ID", audit["MISSING"]]
    assert "--limit prints more" in done.stderr
    assert "\x1b" not in done.stdout + user.ok("why", audit["FAILED"])


def test_why_leads_to_the_cause(user, audit):
    """What waits names what it waits for, and the command that says more; the same without the kind, and by the first digits of the ID."""
    waiting = audit["WAITING"]
    shown = user.ok("why", "evaluation", waiting)
    assert "UnsatisfiedDependency" in shown
    assert f"dyff why dataset {audit['MISSING']}" in shown
    assert "It waits for its files" in user.ok("why", audit["MISSING"])
    assert json.loads(user.ok("why", f"eval/{waiting[:12]}", "--json"))["id"] == waiting
    assert user.run("wait", audit["FAILED"], "--quiet").returncode == reporting.WORKFLOW_FAILED
    assert "client.badRequestPolicy" in user.ok("why", audit["FAILED"])


def test_samples_are_found(user, audit):
    """Those with an error, those with a text, and the next page."""
    found = json.loads(user.ok("samples", audit["SKIPPED"], "--errors", "--json", "--limit", "2"))
    assert [each["index"] for each in found["samples"]] == [0, 1]
    more = json.loads(user.ok("samples", audit["SKIPPED"], "--errors", "--json", "--limit", "2", "--after", found["next"]))
    assert [each["index"] for each in more["samples"]] == [2, 3]
    one = user.ok("samples", audit["EVALUATION"], "--text", "NUMBER 17", "--replication", "0")
    assert one.startswith("17.0\n")
    assert "prompt number 17" in one


def test_a_person_signs_in(server, account, tmp_path):
    """The token is asked for and does not appear; a wrong one leaves no file, and Ctrl-C neither; signing out can revoke it."""
    person = User(tmp_path)
    token = server.command("token", "create", "--account", account)
    for typed, wanted in (("a.b.c\n", reporting.NOT_SIGNED_IN), ("\x03", reporting.INTERRUPTED)):
        code, shown = person.on_terminal(80, "login", server.endpoint, typed=typed)
        assert (code, person.file.exists(), "a.b.c" in shown) == (wanted, False, False), shown
    code, shown = person.on_terminal(80, "login", server.endpoint, typed=f"{token}\n")
    assert (code, token in shown) == (0, False), shown
    assert "signed in to" in shown
    assert person.file.stat().st_mode & 0o777 == 0o600
    person.file.chmod(0o640)
    refused = person.run("ls", "models")
    assert (refused.returncode, "chmod 600" in refused.stderr) == (reporting.NOT_SIGNED_IN, True)
    person.file.chmod(0o600)
    assert "revoked the token" in person.ok("logout", "--revoke")
    person.environment |= {"DYFF_API_TOKEN": token, "DYFF_API_ENDPOINT": server.endpoint}
    assert person.run("whoami").returncode == reporting.NOT_SIGNED_IN


def test_a_reader_that_leaves_is_no_error(user):
    """As in `dyff ls evaluations | head -1`: nothing is said about the pipe."""
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run([DYFF, "whoami"], env=user.environment, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (reporting.FAILED, "")


def test_a_person_confirms_a_deletion(user, audit):
    """No, Ctrl-C and the end of the input change nothing; yes does."""
    target = audit["SPARE"]
    for typed, code in (("n\n", reporting.NOT_CONFIRMED), ("\x03", reporting.INTERRUPTED), ("\x04", reporting.INTERRUPTED)):
        found, shown = user.on_terminal(80, "delete", "dataset", target, typed=typed)
        assert found == code, shown
        assert json.loads(user.ok("get", "dataset", target, "--json"))["status"] == "WaitingForUpload"
    code, shown = user.on_terminal(80, "delete", "dataset", target, typed="y\n")
    assert (code, "Deleted" in shown) == (0, True), shown


def test_each_exit_code_says_what_happened(server, user, audit, account, tmp_path):
    """As the page lists them."""
    stranger = User(tmp_path)
    listed = {int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    other = server.command("account", "create", "--name", "stranger")
    foreign = {"DYFF_API_TOKEN": server.command("token", "create", "--account", other), "DYFF_API_ENDPOINT": server.endpoint}
    gone = user.run("ls", "models", "--endpoint", "http://127.0.0.1:9")
    outside = User(tmp_path)
    outside.environment |= foreign
    wrong = User(tmp_path)
    wrong.environment |= foreign | {"DYFF_API_TOKEN": "a.b.c"}
    found = {
        reporting.FAILED: user.run("download", audit["EVALUATION"], str(tmp_path)),
        reporting.WRONG: user.run("ls", "evalations"),
        reporting.NO_SERVER: wrong.run("ls", "models", "--endpoint", "http://127.0.0.1:9"),
        reporting.NOT_SIGNED_IN: stranger.run("ls", "models"),
        reporting.MISSING: user.run("get", "model", ID),
        reporting.CONFLICT: user.run("samples", audit["WAITING"]),
        reporting.TIME_OVER: user.run("wait", audit["WAITING"], "--timeout", "0", "--quiet"),
        reporting.WORKFLOW_FAILED: user.run("wait", audit["FAILED"], "--quiet"),
        reporting.NOT_ALLOWED: outside.run("get", "dataset", audit["DATASET"]),
    }
    assert {code: done.returncode for code, done in found.items()} == {code: code for code in found}
    assert wrong.run("whoami").returncode == reporting.NOT_SIGNED_IN
    assert gone.returncode == reporting.NOT_SIGNED_IN  # nobody has signed in there
    assert all("Traceback" not in done.stderr for done in found.values())
    assert listed == {0, *found, reporting.DIFFERS, reporting.NOT_CONFIRMED, reporting.INTERRUPTED}


def test_ctrl_c_ends_a_command_with_130(user, audit):
    """What continues is said, in one line."""
    process = subprocess.Popen(
        [DYFF, "wait", audit["WAITING"]], env=user.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert (process.returncode, "waits again" in error, "Traceback" in error + out) == (reporting.INTERRUPTED, True, False)


def test_a_revoked_token_is_refused_at_once(server, account, tmp_path):
    """An operator lists tokens, without their secrets, and revokes one by its ID; the audit log has both."""
    token = server.command("token", "create", "--account", account)
    user = User(tmp_path)
    user.environment |= {"DYFF_API_TOKEN": token, "DYFF_API_ENDPOINT": server.endpoint}
    mine = json.loads(user.ok("whoami", "--json"))["token"]
    listed = [json.loads(line) for line in server.command("token", "list", "--account", account, "--valid").splitlines()]
    assert [each["status"] for each in listed if each["id"] == mine] == ["Valid"]
    assert token.rpartition(".")[2] not in json.dumps(listed)
    assert not any("hash" in name or "secret" in name for each in listed for name in each)
    server.command("token", "revoke", mine)
    assert user.run("whoami").returncode == reporting.NOT_SIGNED_IN
    assert mine not in server.command("token", "list")
    assert "there is no token" in server.refused("token", "revoke", mine)
    recorded = [json.loads(line) for line in server.command("audit-log", "--action", "operator.token.*", "--json").splitlines()]
    assert {"operator.token.list", "operator.token.revoke"} <= {each["action"] for each in recorded}
    assert next(each for each in recorded if each["action"] == "operator.token.revoke")["target"] == mine


def test_an_account_that_owns_entities_is_not_deleted_by_mistake(server, tmp_path, prompts):
    """It is refused with their number; with --keep-entities the tokens stop at once, and the entities stay."""
    account = server.command("account", "create", "--name", "short-lived")
    server.command("account", "create", "--name", "short-lived-admin")
    token = server.command("token", "create", "--account", account)
    with Client(endpoint=server.endpoint, api_token=token) as client:
        dataset = client.datasets.create_arrow_dataset(prompts, account=account, name="d")
    user = User(tmp_path)
    user.environment |= {"DYFF_API_TOKEN": token, "DYFF_API_ENDPOINT": server.endpoint}
    assert "owns entities (1)" in server.refused("account", "delete", "short-lived", "--yes")
    assert "add --yes" in server.refused("account", "delete", "short-lived", "--keep-entities")
    assert user.run("whoami").returncode == 0
    server.command("account", "delete", "short-lived", "--keep-entities", "--yes")
    assert user.run("whoami").returncode == reporting.NOT_SIGNED_IN
    everything = server.command("token", "create", "--account", "short-lived-admin", "--role", "Admin")
    admin = User(tmp_path)
    admin.environment |= {"DYFF_API_TOKEN": everything, "DYFF_API_ENDPOINT": server.endpoint}
    assert dataset.id in admin.ok("ls", "datasets", "--account", account)
    entry = json.loads(server.command("audit-log", "--action", "operator.account.delete", "--outcome", "ok", "--json").splitlines()[-1])
    assert (entry["entity"], entry["details"]) == (account, {"entities": "1"})
    assert "there is no account" in server.refused("account", "delete", "nobody", "--yes")
