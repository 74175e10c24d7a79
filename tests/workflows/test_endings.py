"""How steps end: their exit codes and their last lines."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMAND_LINES = {
    "no step": [],
    "no such step": ["no-such-step"],
    "a client without a manifest": ["evaluation-client"],
    "a verification with an unknown flag": ["verify-evaluation-output", "--manifest", "m.json", "--fast"],
    "a fetch without a destination": ["fetch-data", "--source", "models/x/"],
}


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "dyff.workflows", *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("arguments", COMMAND_LINES.values(), ids=COMMAND_LINES)
def test_a_wrong_command_line_is_final(arguments):
    """It ends with 64, which nobody retries (2 would mean missing outputs), and says in a line, without a traceback, what is wrong."""
    ended = run(*arguments)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 64
    assert "usage:" in said
    assert "Traceback" not in said


def test_help_is_no_failure():
    """`--help` explains the arguments and ends with 0."""
    ended = run("fetch-data", "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "the directory to fill" in ended.stdout
    assert "Traceback" not in ended.stdout
