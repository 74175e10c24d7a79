"""The log of an installed server: every line is JSON, and nothing depends on who reads it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests import waiting
from tests.acceptance.conftest import DYFF, plain_environment, run
from tests.engines.ports import free_port

pytestmark = pytest.mark.acceptance


def parsed(text: str) -> list[dict]:
    """Every line of a log, which must be JSON with what every line has."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert {"time", "level", "event", "logger"} <= line.keys(), line
    return lines


def serving(folder: Path, stderr, *flags: str, **variables: str) -> subprocess.Popen:
    """`dyff serve` with its standard output and standard error at one place, as a container has them."""
    command = [DYFF, "serve", "--data-dir", str(folder), "--port", "0", *flags]
    return subprocess.Popen(command, stdout=stderr, stderr=stderr, env=plain_environment() | variables)


def until(condition, limit_s: float = 60.0):
    """What `condition` returns, once it is true."""
    end = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        waiting.a_blocking_moment(0.05)
    return found


def test_everything_that_a_server_writes_is_json(tmp_path):
    """From the first line to the last, on both streams: the banner, too, which has the URL and how to make a token."""
    with (tmp_path / "log").open("wb") as log:
        process = serving(tmp_path / "data", log)
        until(lambda: b'"ready"' in (tmp_path / "log").read_bytes())
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    lines = parsed((tmp_path / "log").read_text())
    (ready,) = [line for line in lines if line["event"] == "ready"]
    assert re.fullmatch(r"http://127.0.0.1:\d+/v0", ready["api"])
    assert "dyff token create" in ready["make_a_token"]
    assert lines[-1]["event"] == "stopping"


def test_the_banner_is_written_at_every_level(tmp_path):
    """Programs wait for it."""
    with (tmp_path / "log").open("wb") as log:
        process = serving(tmp_path / "data", log, "--log-level", "error")
        until(lambda: b'"ready"' in (tmp_path / "log").read_bytes())
        process.kill()
        process.wait()
    assert [line["event"] for line in parsed((tmp_path / "log").read_text())] == ["ready"]


def test_what_the_client_of_kafka_logs_is_json(tmp_path):
    """With a broker that does not answer, each message of the client is a line with its logger, and each trace is in one line."""
    broker = f"127.0.0.1:{free_port()}"
    with (tmp_path / "log").open("wb") as log:
        process = serving(tmp_path / "data", log, "--role", "aggregator", DYFF_BUS__KAFKA__BOOTSTRAP_SERVERS=broker)
        until(lambda: b"aiokafka" in (tmp_path / "log").read_bytes() or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    lines = parsed((tmp_path / "log").read_text())
    assert [line for line in lines if line["logger"].startswith("aiokafka")], lines
    assert lines[-1]["event"] in ("ended", "stopping")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_the_trace_of_a_crash_is_a_line_of_the_next_start(tmp_path, number):
    """Even then nothing but JSON is written; the trace of all threads is kept, and logged by the next start."""
    with (tmp_path / "log").open("wb") as log:
        process = serving(tmp_path / "data", log)
        until(lambda: b'"ready"' in (tmp_path / "log").read_bytes())
        process.send_signal(number)
        assert process.wait(30) == -number
    parsed((tmp_path / "log").read_text())
    with (tmp_path / "next").open("wb") as log:
        process = serving(tmp_path / "data", log)
        until(lambda: b'"ready"' in (tmp_path / "next").read_bytes())
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    left = [line for line in parsed((tmp_path / "next").read_text()) if line["event"] == "left-by-earlier-process"]
    assert len(left) == 1
    assert "Fatal Python error" in left[0]["text"]
    with (tmp_path / "last").open("wb") as log:
        process = serving(tmp_path / "data", log)
        until(lambda: b'"ready"' in (tmp_path / "last").read_bytes())
        process.kill()
        process.wait()
    assert "left-by-earlier-process" not in (tmp_path / "last").read_text()


ERRORS = {
    "settings": (["--role", "apj"], {}, 2),
    "a level": (["--log-level", "loud"], {}, 2),
    "a setting": ([], {"DYFF_NO_SUCH_SETTING": "1"}, 2),
    "a type": ([], {"DYFF_QUOTAS__ADMITTED": "many"}, 2),
    "an option": (["--no-such-option"], {}, 2),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_server_that_does_not_start_says_why_in_json(tmp_path, case):
    """The last line has the reason and the exit code."""
    flags, variables, code = ERRORS[case]
    command = [DYFF, "serve", "--data-dir", str(tmp_path / "data"), "--port", "0", *flags]
    ended = subprocess.run(command, capture_output=True, text=True, env=plain_environment() | variables, check=False, timeout=60)
    last = parsed(ended.stderr)[-1]
    assert (ended.returncode, ended.stdout, last["event"], last["exit_code"]) == (code, "", "ended", code), ended


PROGRAM = """
import asyncio, ctypes, gc, logging, os, sys, threading, warnings
from dyff.serve import log_output
from dyff.kernel import settings
out = log_output.open_log(settings.Settings())
out.keep_native(__import__("pathlib").Path(sys.argv[1]))
warnings.warn("a warning of Python", ResourceWarning)
logging.getLogger("pymongo.topology").warning("two\\nlines %s", "of a library")
logging.getLogger("some.library").error("%d", "not a number")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("asyncio").exception("caught")
async def main():
    asyncio.get_running_loop().call_soon(lambda: [][1])
    task = asyncio.ensure_future(asyncio.sleep(0, {}["missing"] if False else None))
    await task
    asyncio.get_running_loop().call_exception_handler({"message": "a task", "exception": ValueError("three\\nlines\\nlong")})
    await asyncio.sleep(0.01)
asyncio.run(main())
thread = threading.Thread(target=lambda: 1 / 0, name="worker")
thread.start()
thread.join()
class Odd:
    def __del__(self):
        raise ValueError("while it is collected")
Odd()
gc.collect()
print("printed\\nin two lines", file=sys.stderr)
os.write(2, b"from native code\\n\\xff\\n")
out.look()
raise RuntimeError("nothing caught this")
"""


def test_every_way_to_write_to_standard_error_is_json(tmp_path):
    """Warnings, loggers of libraries, exceptions in callbacks, threads and finalizers, prints, native code, and the one that ends it."""
    import sys

    command = [sys.executable, "-W", "always", "-c", PROGRAM, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    lines = parsed(ended.stderr)
    events = [line["event"] for line in lines]
    assert "two\nlines of a library" in events
    assert {"python-warning", "log-record-broken", "caught", "ignored-exception", "written-to-stderr"} <= set(events), events
    uncaught = [line for line in lines if line["event"] == "uncaught-exception"]
    assert [line["exception"][0]["exc_type"] for line in uncaught] == ["ZeroDivisionError", "RuntimeError"]
    (written,) = [line for line in lines if line["event"] == "written-to-stderr"]
    assert written["text"] == "printed\nin two lines\nfrom native code\n\ufffd"
    assert [line for line in lines if line["logger"] == "asyncio" and "IndexError" in json.dumps(line)]


def test_text_can_be_chosen(tmp_path):
    """`logs.format: text` gives the form for people, whatever standard error is; the banner then goes to standard output."""
    with (tmp_path / "log").open("wb") as log, (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [DYFF, "serve", "--data-dir", str(tmp_path / "data"), "--port", "0"], stdout=out, stderr=log,
            env=plain_environment() | {"DYFF_LOGS__FORMAT": "text"},
        )  # fmt: skip
        until(lambda: "dyff token create" in (tmp_path / "out").read_text())
        process.kill()
        process.wait()
    assert "role-ready" in (tmp_path / "log").read_text()
    assert "{" not in (tmp_path / "log").read_text().splitlines()[0]


def fill_up(file: Path) -> None:
    """Take all the space of the disk that `file` is on."""
    ballast = os.open(file, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(ballast, b"x" * 4096):
            pass
    os.close(ballast)


class Piped:
    """A server whose log goes to a pipe, with a port that does not have to be read from there."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.read, write = os.pipe()
        self.port = free_port()
        self.process = serving(folder, write, "--port", str(self.port), "--log-level", "debug")
        os.close(write)
        self._text = b""

    def read_until(self, wanted: bytes) -> str:
        """All that was logged up to the line that has `wanted`."""
        while wanted not in self._text.rpartition(b"\n")[0]:
            self._text += os.read(self.read, 65536) or pytest.fail(self._text.decode())
        return self._text.rpartition(b"\n")[0].decode()

    def request(self) -> int:
        """The status of a request that is logged."""
        return httpx.get(f"http://127.0.0.1:{self.port}/v0/evaluations", timeout=20).status_code

    def state(self) -> dict:
        return httpx.get(f"http://127.0.0.1:{self.port}/ready", timeout=20).json()

    def troubles(self) -> list[str]:
        return [each["name"] for each in self.state()["degraded"]]

    def make_noise(self) -> None:
        """Let the server log a line of 32 KiB, as native code does that writes to standard error."""
        with (self._folder / "stderr" / "stderr-0.txt").open("a") as file:
            file.write("x" * 32768 + "\n")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture
def piped(tmp_path):
    """A server that logs to a pipe."""
    subject = Piped(tmp_path / "data")
    yield subject
    if subject.process.poll() is None:
        subject.process.kill()
        subject.process.wait()


def test_a_server_outlives_the_reader_of_its_log(piped):
    """When the other end of the pipe is closed, requests are answered as before, `/ready` has the trouble and counts what is lost."""
    piped.read_until(b'"ready"')
    os.close(piped.read)
    piped.make_noise()
    until(lambda: piped.troubles() == ["log output"])
    assert [piped.request() for _ in range(3)] == [401] * 3
    piped.make_noise()
    until(lambda: piped.state()["lost"]["log output"] >= 2)
    assert piped.state()["status"] == "degraded"
    assert piped.stop() == 0


def test_a_reader_that_stops_reading_blocks_nothing(piped):
    """When the pipe is full, requests are answered as before; what fits in memory is written when somebody reads again."""
    piped.read_until(b'"ready"')
    for _ in range(3):
        piped.make_noise()
        assert piped.request() == 401
        # real time: each look of the server, once a second by its clock, makes one line of what it finds
        time.sleep(1.2)
    until(lambda: piped.troubles() == ["log output"])
    assert [piped.request() for _ in range(3)] == [401] * 3
    parsed(piped.read_until(b'"degraded-over"'))
    assert piped.state()["status"] == "ok"
    assert piped.stop() == 0


def test_a_server_whose_reader_stopped_reading_can_be_stopped(piped):
    """Lines that nothing takes do not keep it from ending in an orderly way."""
    piped.read_until(b'"ready"')
    for _ in range(3):
        piped.make_noise()
        # real time: each look of the server, once a second by its clock, makes one line of what it finds
        time.sleep(1.2)
    assert piped.stop() == 0


def test_what_does_not_fit_on_the_disk_is_counted_when_there_is_space(disk, tmp_path):
    """A log on a full disk loses lines; when there is space, a line in their place says how many, and the log is JSON throughout."""
    log = disk / "log"
    port = str(free_port())
    with log.open("ab") as stream:
        process = serving(tmp_path / "data", stream, "--port", port)
    try:
        until(lambda: b'"ready"' in log.read_bytes())
        fill_up(disk / "ballast")

        def state() -> dict:
            return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=20).json()

        def fill() -> bool:
            with (tmp_path / "data" / "stderr" / "stderr-0.txt").open("a") as file:
                file.write("x" * 8192 + "\n")
            # real time: the server looks at that file by its own clock
            time.sleep(0.5)
            return state()["lost"]["log output"] > 0

        until(fill)
        assert httpx.get(f"http://127.0.0.1:{port}/v0/evaluations").status_code == 401
        (disk / "ballast").unlink()
        until(lambda: state()["status"] == "ok")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
    text = log.read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    assert sum(line["lost"] for line in lines if line["event"] == "log-lines-lost") > 0
    torn = [line for line in text.splitlines() if not line.endswith("}")]
    assert len(torn) <= 1  # the line that was cut when the disk was full


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "2>&- >&- <&-"])
def test_a_server_without_standard_streams_serves(tmp_path, closed):
    """A closed descriptor is not taken for one of its files."""
    port = free_port()
    command = f'exec "$0" serve --data-dir "$1" --port {port} {closed}'
    process = subprocess.Popen(["sh", "-c", command, DYFF, str(tmp_path / "data")], env=plain_environment(), stderr=subprocess.DEVNULL)

    def ready() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(ready)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
    assert run("verify", "--data-dir", str(tmp_path / "data")).returncode == 0


def test_an_account_is_only_suggested_while_there_is_none(make_server):
    """A second account of the same name would be refused, and a person with an account needs no other."""
    subject = make_server("data")
    subject.start()
    assert "dyff account create" in subject.lines("ready")[-1]["make_a_token"]
    subject.command("account", "create", "--name", "me")
    assert subject.stop() == 0
    subject.start()
    assert "make_a_token" not in subject.lines("ready")[-1]
    assert subject.stop() == 0
