"""README and guide do what they say: their blocks run as they are written, in the order in which a reader runs them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests import waiting
from tests.acceptance.conftest import Server, plain_environment
from tests.conftest import missing

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs/your-own-model.md").read_text()
EXAMPLE = ROOT / "examples/your-own-model"
MODEL_VENV = ROOT / ".venv-your-own-model"
CHAT = ("127.0.0.1", 8081)
"""Where the guide says that a chat model is served."""
DEADLINE_S = 120.0
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """The blocks of code in a language."""
    return [body for found, body in _BLOCK.findall(text) if found == language]


class Clone:
    """A directory with what a clone has after `make setup`, and a reader in it, whose server has a port of its own."""

    def __init__(self, folder: Path) -> None:
        if subprocess.run(["make", "--question", ".venv/.ready"], cwd=ROOT, check=False).returncode:
            pytest.fail(
                "the environment is older than its requirements: run make setup (here it would be installed from a folder of the test)"
            )
        for name in ("Makefile", "pyproject.toml", "requirements", "wheels", "examples", ".venv", MODEL_VENV.name):
            (folder / name).symlink_to(ROOT / name)
        self.folder = folder
        self.environment = plain_environment() | {"DYFF_API__PORT": "0", "DYFF_LOGS__FORMAT": "text"}  # what a person sees at a terminal
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, lines: str, name: str) -> Path:
        """Run lines of a shell in a terminal of their own; returns the file with their output."""
        out = self.folder / f"{name}.out"
        with out.open("w") as file:
            command = ["bash", "-euc", lines]
            self.started.append(
                subprocess.Popen(
                    command, cwd=self.folder, env=self.environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
                )
            )
        return out

    def serve(self, lines: str) -> None:
        """Start the server; returns when it is ready."""
        out = self.start(lines, "server")
        end = time.monotonic() + DEADLINE_S
        while not (found := re.search(r"API\s+(\S+)[\s\S]*dyff token create", out.read_text())):
            assert self.started[-1].poll() is None, out.read_text()
            assert time.monotonic() < end, out.read_text()
            waiting.a_blocking_moment(0.05)
        self.environment["DYFF_API_ENDPOINT"] = found[1]

    def remember(self, lines: str) -> None:
        """Run lines that export variables, which later lines see."""
        shown = self.run(f"{lines}\nenv -0")
        self.environment |= dict(each.split("=", 1) for each in shown.split("\0") if "=" in each)

    def run(self, lines: str, program: str = "bash -eu") -> str:
        """Give lines to a program; returns what it prints."""
        ended = subprocess.run(
            program.split(), input=lines, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=DEADLINE_S,
            check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def stop(self) -> None:
        """As with Ctrl-C in each terminal."""
        for each in reversed(self.started):
            if each.poll() is None:
                os.killpg(each.pid, signal.SIGTERM)
            try:
                each.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(each.pid, signal.SIGKILL)
                each.wait()


@pytest.fixture
def clone(tmp_path):
    """A clone in which nothing runs yet."""
    made = Clone(tmp_path)
    yield made
    made.stop()


def test_the_readme(clone):
    """The README's own lines make a server, an account and an audit, whose outputs have one row for each prompt."""
    serve, account = blocks(README, "bash")
    (audit,) = blocks(README, "python")
    clone.serve(serve)
    clone.remember(account)
    printed = clone.run(audit, ".venv/bin/python -")
    assert len(re.findall(r"'_index_': \d", printed)) == 3, printed


def test_the_guide(clone):
    """Both audits of the guide run, with a real scikit-learn model and with a chat server outside the sandbox."""
    if not (MODEL_VENV / ".ready").exists():
        missing("no scikit-learn: run make your-own-model")
    serve, account, classifier, chat_server, chat = blocks(GUIDE, "bash")
    clone.serve(serve)
    clone.remember(account)
    printed = clone.run(classifier)
    counts = [tuple(map(int, each)) for each in re.findall(r"^(?:old|young): (\d+) of (\d+) granted$", printed, re.MULTILINE)]
    assert sum(asked for _, asked in counts) == 200
    assert all(0 < granted < asked for granted, asked in counts), printed

    _wait_until_free(CHAT)
    log = clone.start(chat_server, "chat")
    _wait_until(lambda: _accepts(CHAT), lambda: log.read_text())
    printed = clone.run(chat)
    assert "What is an audit? -> You asked: What is an audit?\n" in printed
    assert printed.count("You asked: ") == 3


@pytest.mark.parametrize("name", ["classifier.py", "audit_classifier.py", "forward.py", "audit_chat.py", "settings.yaml"])
def test_the_guide_shows_the_files(name):
    """What the guide shows of a file is the file."""
    shown = GUIDE.partition(f"(../examples/your-own-model/{name}):\n\n```")[2].partition("\n")[2].partition("\n```\n")[0]
    assert shown == (EXAMPLE / name).read_text().rstrip()


def test_a_forwarder_reaches_nothing_else(make_server, tmp_path):
    """A place that `connect` does not name stays closed, such as the API of the server; the items say why, and the key is not kept."""
    import pyarrow as pa
    import pyarrow.parquet

    from dyff.sdk import Client, schemas

    subject: Server = make_server("closed")
    python = ROOT / ".venv/bin/python"
    subject.settings = {"DYFF_CONFIG_FILE": str(tmp_path / "settings.yaml")}
    (tmp_path / "settings.yaml").write_text(
        f"pods:\n  images:\n    mine/forwarder:\n      command: ['{python}', '{EXAMPLE / 'forward.py'}']\n"
        "      env: {UPSTREAM: 'http://127.0.0.1:9', UPSTREAM_KEY: 'the-secret-key'}\n      connect: ['127.0.0.1:10']\n"
    )
    subject.start()
    account = subject.command("account", "create", "--name", "me")
    token = subject.command("token", "create", "--account", account)
    folder = tmp_path / "rows"
    folder.mkdir()
    pyarrow.parquet.write_table(pa.table({"_index_": pa.array([0], pa.int64()), "text": ["a"]}), folder / "rows.parquet")
    with Client(api_token=token, endpoint=subject.endpoint) as client:
        service = client.inferenceservices.create(
            {
                "account": account,
                "name": "closed",
                "runner": {
                    "kind": "container",
                    "image": {"host": "localhost", "name": "mine/forwarder", "digest": "sha256:" + "0" * 64},
                    "resources": {},
                    "args": ["--to", "http://127.0.0.1:10"],
                    "env": [{"name": "UPSTREAM", "value": "http://127.0.0.1:10"}],
                },
                "interface": {"endpoint": "x", "outputSchema": schemas.output_schema(pa.schema([("text", pa.string())]))},
            }
        )
        dataset = client.datasets.create_arrow_dataset(folder, account=account, name="rows")
        client.datasets.upload_arrow_dataset(dataset, folder, progress=False)
        made = client.inferencesessions.create({"account": account, "inferenceService": service.id})
        session = client.inferencesessions.wait(made.inferencesession.id, timeout_s=DEADLINE_S, progress=False)
        caller = client.inferencesessions.client(session.id, made.token, interface=session.inferenceService.interface)
        with pytest.raises(Exception, match=r"127\.0\.0\.1:9 cannot be reached: .*403 Forbidden") as caught:
            caller.infer({"text": "a"})
        assert "the-secret-key" not in str(caught.value)
        client.inferencesessions.terminate(session.id)
    assert subject.stop() == 0


def _accepts(place: tuple[str, int]) -> bool:
    try:
        socket.create_connection(place, 1).close()
    except OSError:
        return False
    return True


def _wait_until(is_so, explain) -> None:
    end = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end, explain()
        waiting.a_blocking_moment(0.05)


def _wait_until_free(place: tuple[str, int]) -> None:
    """Other runs of this test on the machine use the same port, since the guide names it."""
    _wait_until(lambda: not _accepts(place), lambda: f"another program uses {place}, which the guide names")
