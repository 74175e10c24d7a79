from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.fakes import wait_until_gone

FAKED = """
import sys
from pathlib import Path
from tests.engines import catalog
from tests.engines.fakes import FakeRecipe
fake = FakeRecipe(Path(sys.argv.pop(1)), sys.argv.pop(1))
fake.programs = tuple(filter(None, [sys.argv.pop(1)]))
catalog.RECIPES.clear()
catalog.RECIPES["fake"] = fake
from tests.engines.__main__ import guarded
guarded()
"""


@pytest.fixture
def command(tmp_path, cache):
    """The command line, with the fake as its only server. What still runs at the end of a test that fails is killed."""
    made = []

    def start(*arguments, behaviour="answers", lacks="", **environment):
        variables = {**{key: value for key, value in os.environ.items() if key != "CI"}, **environment}
        made.append(subprocess.Popen(
            [sys.executable, "-c", FAKED, str(tmp_path / "recipe"), behaviour, lacks, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables,
        ))  # fmt: skip
        return made[-1]

    yield start
    for each in made:
        if each.poll() is None:
            each.kill()
            each.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def pids(cache: Path) -> list[int]:
    return [int(path.read_text()) for path in cache.glob("runs/*/fake/*.pid")]


def test_run_gives_the_variables_and_the_exit_code(command, cache):
    """The command sees where the servers are, its exit code is the runner's, and afterwards no server is left."""
    code, out, err = ended(command("run", "--", "sh", "-c", "echo at $DYFF_TEST_FAKE; exit 7"))
    assert out.startswith("at 127.0.0.1:")
    assert code == 7
    assert "bus:fake  Fake 1.0  127.0.0.1:" in err
    wait_until_gone(*pids(cache))


def test_run_does_not_run_the_command_without_a_server(command, cache):
    """A server that does not come up is an error that shows its log; the command does not run."""
    code, out, err = ended(command("run", "--", "echo", "ran", behaviour="ends"))
    assert code == 1
    assert out == ""
    assert "a line of the log" in err
    assert "Traceback" not in err
    wait_until_gone(*pids(cache))


@pytest.mark.parametrize(("ci", "want_code", "want_out"), [("", 0, "ran\n"), ("true", 1, "")])
def test_a_missing_server_is_an_error_in_ci_only(command, ci, want_code, want_out):
    """On a laptop the command runs without it and the reason is printed."""
    code, out, err = ended(command("run", "--", "echo", "ran", lacks="no-such-java", CI=ci))
    assert (code, out) == (want_code, want_out)
    assert "no-such-java not found" in err


@pytest.mark.parametrize(("ci", "want_code"), [("", 0), ("true", 1)])
def test_a_server_that_cannot_be_built_is_an_error_in_ci_only(command, ci, want_code):
    """`build` says what lacks."""
    code, _, err = ended(command("build", lacks="no-such-java", CI=ci))
    assert code == want_code
    assert "NOT BUILT: Fake 1.0: no-such-java not found" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_and_the_servers(command, cache, number):
    """Nothing is left running, and the exit code tells the signal."""
    process = command("run", "--", "sh", "-c", "echo $$; exec sleep 1000")
    running = int(process.stdout.readline())
    process.send_signal(number)
    assert ended(process)[0] == 128 + number
    wait_until_gone(running, *pids(cache))


def test_ctrl_c_lets_the_command_end_by_itself(command, cache):
    """A terminal sends SIGINT to both: the command (pytest, for instance) tidies up first, then the servers end."""
    process = command("run", "--", "sh", "-c", 'trap "echo tidied up; exit 0" INT; echo up; while :; do sleep 0.01; done; ')
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    (child,) = [int(each) for each in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split() if is_shell(each)]
    os.kill(child, signal.SIGINT)
    code, out, _ = ended(process)
    assert (code, out) == (128 + signal.SIGINT, "tidied up\n")
    wait_until_gone(*pids(cache))


def is_shell(pid: str) -> bool:
    """Whether a process is the command of the test. One that has ended since it was listed is not: the runner has others, too."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sh\0")
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_killed_run_leaves_nothing_behind(command, cache):
    """SIGKILL of the runner ends the servers, what they started, and the command."""
    process = command("run", "--", "sh", "-c", "echo $$; exec sleep 1000")
    running = int(process.stdout.readline())
    process.kill()
    process.communicate(timeout=30)
    wait_until_gone(running, *pids(cache))
