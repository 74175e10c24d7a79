"""Ctrl-C, as a person meets it: in a script that catches nothing, with both clients, while waiting and in transfers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from dyff.sdk import interruptions
from tests.narrowing import sure

SERVER = """
import asyncio, base64, http.server, json, sys, threading, time
from dyff.sdk import AsyncClient, Client

MODE, PROGRESS = sys.argv[1], sys.argv[2] == "progress"
ID = "a" * 32
MODEL = {"id": ID, "account": "me", "kind": "Model", "status": "Created", "name": "m", "artifact": {"kind": "Mock"},
         "source": {"kind": "Mock"}}
asked = []

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        asked.append(self.path)
        if self.path.endswith("/downlinks"):
            base = f"http://127.0.0.1:{server.server_port}"
            urls = [f"{base}/{'slow' if n else 'fast'}/{n}" for n in range(6)]
            return self.say([{"artifact": {"path": url[-1]}, "signedURL": {"url": url}} for url in urls])
        if "/upload/" in self.path:
            return self.say({"url": f"http://127.0.0.1:{server.server_port}/slow/there", "method": "PUT"})
        if self.path.startswith("/slow"):
            hold()
        if len(asked) > 4 and "/v0/" in self.path:
            hold()  # the answer is awaited inside of the HTTP library when Ctrl-C comes
        self.say({} if self.path.endswith("progress") else [] if self.path.endswith("/models") else MODEL)
    do_PUT = do_GET
    def say(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_):
        pass

def hold():
    sys.stderr.write("now\\n")
    sys.stderr.flush()
    time.sleep(600)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
server.handle_error = lambda *_: None  # a client that has ended: the error stream is for what the client says
threading.Thread(target=server.serve_forever, daemon=True).start()
how = {"endpoint": f"http://127.0.0.1:{server.server_port}/v0", "api_token": "t"}

def call(client):
    if "download" in MODE:
        return client.models.download(ID, "there", progress=PROGRESS)
    if "upload" in MODE:
        from dyff.sdk import models
        files = [{"path": "weights.bin", "size": 3, "digest": {}}]
        model = models.read({**MODEL, "artifact": {"kind": "Volume", "volume": {"files": files}}}, models.Model)
        return client.models.upload_volume(model, ".", progress=PROGRESS)
    return client.models.wait(ID, progress=PROGRESS) if "wait" in MODE else client.models.query()

if "async" in MODE:
    async def main():
        async with AsyncClient(**how) as client:
            await call(client)
    asyncio.run(main())
else:
    while True:
        call(Client(**how))
"""

LINES = {
    "wait": f"no longer waiting; Model {'a' * 32} continues: client.models.wait({'a' * 32!r}) waits again",
    "download": f"the download was interrupted; the same call, with 'there', continues it "
    f"(what has arrived is in there.{'a' * 32}.partial)",
    "upload": f"the upload of Model {'a' * 32} was interrupted; the same call continues it, and sends only the missing files",
}


def interrupted(mode, progress, folder):
    """Run the script until the server holds an answer back, press Ctrl-C; returns what it printed and how it ended."""
    (folder / "weights.bin").write_bytes(b"abc")
    command = [sys.executable, "-c", SERVER, mode, progress]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        for line in sure(process.stderr):
            if line == "now\n":
                break
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    return out, err.replace("now\n", ""), process.returncode


@pytest.mark.parametrize("mode", ["wait", "download", "upload", "async wait", "async download", "async upload"])
def test_an_uncaught_interruption_is_one_line(as_in_a_terminal, tmp_path, mode):
    """The line says what continues and how to look again; there is no traceback; a shell sees 130, which is death by SIGINT."""
    out, err, code = interrupted(mode, "progress", tmp_path)
    assert out.splitlines()[-1] == f"  {LINES[mode.split()[-1]]}"
    assert err == ""
    assert code == -signal.SIGINT


@pytest.mark.parametrize("mode", ["wait", "async wait", "download"])
def test_without_progress_the_line_goes_to_stderr(as_in_a_terminal, tmp_path, mode):
    """Standard output stays as silent as it was asked to be."""
    assert interrupted(mode, "silent", tmp_path) == ("", f"{LINES[mode.split()[-1]]}\n", -signal.SIGINT)


def test_other_calls_end_without_the_frames_of_the_library(as_in_a_terminal, tmp_path):
    """A read that is interrupted has the usual traceback, down to our own call and no further."""
    out, err, code = interrupted("query", "progress", tmp_path)
    assert out == ""
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert "site-packages" not in err
    assert len(err.splitlines()) < 20
    assert code == -signal.SIGINT


def test_an_interruption_that_is_caught_has_the_line():
    """Programs and notebooks find the line in the error, which is an ordinary KeyboardInterrupt."""
    said: list[Any] = []
    with pytest.raises(KeyboardInterrupt, match="it continues") as caught, interruptions.Explained("  it continues", said.append):
        raise KeyboardInterrupt
    assert said == ["  it continues"]
    assert type(caught.value) is KeyboardInterrupt
    shown: Any = caught.value
    assert shown._render_traceback_() == ["KeyboardInterrupt"]


@pytest.mark.parametrize("error", [ValueError, SystemExit, GeneratorExit])
def test_other_errors_are_left_alone(error):
    """Only interruptions are explained."""
    said: list[Any] = []
    with pytest.raises(error), interruptions.Explained("it continues", said.append):
        raise error
    assert said == []


def test_other_errors_are_displayed_as_before(monkeypatch):
    """After an interruption, a program's own display of uncaught errors works on."""
    seen = []
    monkeypatch.setattr(sys, "excepthook", lambda *given: seen.append(given[0]))
    with pytest.raises(KeyboardInterrupt), interruptions.Explained("it continues", lambda _: None):
        raise KeyboardInterrupt
    for error in (ValueError("x"), KeyboardInterrupt()):
        sys.excepthook(type(error), error, None)
    assert seen == [ValueError, KeyboardInterrupt]
