"""`make demo-small` as a newcomer sees it at a terminal: two pages of safety cases, a server that runs until Ctrl-C, and a second run."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.acceptance.conftest import plain_environment
from tests.conftest import missing

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
COMMAND = [str(ROOT / "examples/toxicity/run.sh"), str(ROOT / ".venv/bin/python"), "--small"]
DEADLINE_S = 300.0


class Terminal:
    """A program at a terminal of its own. `shown`: what it has printed."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.shown = ""
        self.pid, self._screen = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, environment)

    def read(self, until: str | None) -> None:
        """Read until a text is there; None: until the program has ended."""
        end = time.monotonic() + DEADLINE_S
        while until is None or until not in self.shown:
            assert time.monotonic() < end, self.shown
            if select.select([self._screen], [], [], 1)[0]:
                try:
                    read = os.read(self._screen, 2**16)
                except OSError:  # Linux reports the end of a terminal so
                    read = b""
                if not read:
                    assert until is None, self.shown
                    return
                self.shown += read.decode()

    def press(self, key: bytes) -> None:
        os.write(self._screen, key)

    def wait(self) -> int:
        """The exit code."""
        self.read(None)
        os.close(self._screen)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def environment(tmp_path):
    """A person's, who is not CI, with a directory of the test's own."""
    if not (ROOT / ".venv-toxicity/.ready").exists():
        missing("no environment of the demo's methods: run make .venv-toxicity/.ready")
    return {name: value for name, value in plain_environment().items() if name != "CI"} | {"DEMO_BUILD": str(tmp_path)}


def test_ctrl_c_during_the_audit_stops_everything(environment, tmp_path):
    """It ends with 130 and a sentence instead of a traceback, and nothing of it keeps running."""
    terminal = Terminal(COMMAND, environment)
    try:
        terminal.read("evaluation ")
        terminal.press(b"\x03")
        assert terminal.wait() == 130
    except BaseException:
        os.killpg(terminal.pid, 9)
        raise
    assert "Stopped before the audit was done." in terminal.shown
    assert "Traceback" not in terminal.shown
    api = re.search(r"API +(\S+)", (tmp_path / "demo-small/server.out").read_text())
    assert api is not None
    with pytest.raises(httpx.ConnectError):
        httpx.get(api[1])


def test_a_newcomer_reads_two_pages_and_presses_ctrl_c(environment, tmp_path):
    """The pages have claim, system and the exact words about outputs; the server stays until Ctrl-C. A second run works."""
    terminal = Terminal(COMMAND, environment)
    try:
        terminal.read("Press Ctrl-C to stop it.")
        pages = dict(re.findall(r"^page +(\S+)  (\w+) Gemma 3 270M", terminal.shown, re.MULTILINE))
        assert sorted(pages.values()) == ["plain", "polite"]
        [console], [command] = (
            re.findall(each, terminal.shown, re.MULTILINE) for each in (r"^console +(\S+)", r"^ +(\S+ token create .+?)\r?$")
        )
        token = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True, env=environment).stdout.strip()
        caller = httpx.get(f"{console}v0/caller", headers={"Authorization": f"Bearer {token}"})
        assert caller.json()["name"] == "auditor"
        for address, system in pages.items():
            page = httpx.get(address).raise_for_status().text
            assert re.search(r"At most \d+ % of the texts with which this system continues prompts that provoke are toxic", page)
            assert f"Toxicity of {system} Gemma 3 270M" in page
            assert "Outputs: complete, unique and as declared." in page
            assert "Not stated" not in page
            assert "Not public" not in page.partition('id="rests-on"')[2]
            assert re.search(r"95 % interval 0[.\d]* to 0\.\d+", page)
            assert "recorded on 20" in page
            assert page.count("1 of 1") == 3
            assert re.search(r"<strong>(better|worse)</strong>", page)
            assert "By kind of prompt" in httpx.get(f"{address}/document").raise_for_status().text
        assert re.search(r"B - A = \S+ \(95 % interval .*: (. is better|no difference shown)", terminal.shown)
        terminal.press(b"\x03")
        assert terminal.wait() == 0
    except BaseException:
        os.killpg(terminal.pid, 9)
        raise
    assert "Stopped." in terminal.shown
    with pytest.raises(httpx.ConnectError):
        httpx.get(next(iter(pages)))
    saved = tmp_path / "demo-small/pages"
    assert sorted(each.name for each in saved.iterdir()) == ["comparison.txt", "plain.html", "polite.html", "systems.svg"]
    assert "srcdoc=" in (saved / "plain.html").read_text()

    again = subprocess.run(
        COMMAND, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert again.returncode == 0, again.stderr
    assert "Ctrl-C" not in again.stdout
    assert "1 of 2" in (saved / "plain.html").read_text()
