"""The link that `dyff serve` prints on a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.acceptance

DYFF = Path(sys.executable).parent / "dyff"


def test_it_is_printed_on_a_terminal_works_once_and_is_in_no_file(tmp_path):
    """Neither the log on standard error nor the audit log nor anything else of the data directory has the code, also after its use."""
    ours, terminal = pty.openpty()
    with (tmp_path / "log").open("wb") as log:
        command = [DYFF, "serve", "--data-dir", tmp_path / "data", "--port", "0"]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=terminal, stderr=log)
    os.close(terminal)
    try:
        shown = b""
        while (match := re.search(rb"(http://[^/\s]+)/#code=([\w-]{43})\s", shown)) is None:
            shown += os.read(ours, 4096)  # it ends with an error when the server has ended
        url, code = match[1].decode(), match[2].decode()
        made = httpx.post(f"{url}/v0/sign-in", json={"code": code}, timeout=60)
        assert made.status_code == 201, made.text
        assert httpx.post(f"{url}/v0/sign-in", json={"code": code}, timeout=60).status_code == 401
    finally:
        server.terminate()
        assert server.wait(60) == 0
        os.close(ours)
    left = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}  # the audit log is written in the background
    assert [path for path, data in left.items() if code.encode() in data] == []
    assert any(b"server.sign_in" in data for data in left.values())


def test_without_a_terminal_there_is_none(tmp_path):
    """What a service or a container prints is kept in a log."""
    with (tmp_path / "log").open("wb") as log:
        command = [DYFF, "serve", "--data-dir", tmp_path / "data", "--port", "0"]
        text = {**os.environ, "DYFF_LOGS__FORMAT": "text"}  # otherwise the line about being ready is in the log
        server = subprocess.Popen(command, env=text, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    assert server.stdout is not None
    try:
        while b"Dyff is ready" not in (line := server.stdout.readline()):
            assert line, (tmp_path / "log").read_text()[-2000:]
    finally:
        server.terminate()
        rest = server.stdout.read()
        server.stdout.close()
        assert server.wait(60) == 0
    assert b"code=" not in line + rest + (tmp_path / "log").read_bytes()
