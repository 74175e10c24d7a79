"""What the tests of the steps share: a temporary store, steps as subprocesses, a mock service."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import importlib
import io
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import msgspec
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
from dyff.schema.dataset import arrow as published

from dyff.entities import registry, specs
from dyff.workflows import failures
from tests import http_servers, waiting
from tests.engines.ports import free_port
from tests.narrowing import sure

EVALUATION, DATASET = "0e" * 16, "da" * 16
SCHEMA = published.make_response_schema(pa.schema([pa.field("text", pa.string())]))
PROMPT_IN = [{"kind": "TransformJSON", "configuration": {"prompt": "$.text"}}]
CHOICES_OUT = [
    {"kind": "ExplodeCollections", "configuration": {"collections": ["choices"]}},
    {"kind": "TransformJSON", "configuration": {"text": "$.choices.text"}},
]
TEXT_OUT = [{"kind": "ExplodeCollections", "configuration": {"collections": ["text"]}}]


class Store:
    """A temporary object store, as the steps see it through DYFF_STORAGE_URL and the tests as files."""

    def __init__(self, root: Path) -> None:
        self.root, self.url = root, f"file://{root}"
        self.objects = root / "objects"
        root.mkdir(parents=True, exist_ok=True)

    @property
    def environment(self):
        """What a step needs to reach it."""
        return {"DYFF_STORAGE_URL": self.url}

    def dataset(self, rows, *, name="data.parquet", dataset=DATASET, **options):
        """Store `rows` (a list of dicts, or a table) as one file of a dataset; `options` of Arrow's `write_table`."""
        file = self.objects / "datasets" / dataset / name
        file.parent.mkdir(parents=True, exist_ok=True)
        new = self.objects.parent / "new.parquet"  # the store never changes a file in its place, and refuses one that was
        pa.parquet.write_table(rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows), new, **options)
        new.replace(file)

    def raw(self, rows, attempt="earlier", name="part-000000-earlier.parquet", schema=SCHEMA):
        """Store `rows` as an output file of an attempt."""
        file = self.objects / "outputs" / EVALUATION / "data" / attempt / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pa.parquet.write_table(pa.Table.from_pylist(rows, schema=schema), file)
        return file

    def raw_rows(self):
        """All raw outputs, of all attempts."""
        files = sorted((self.objects / "outputs" / EVALUATION / "data").rglob("*.parquet"))
        return [row for file in files for row in pa.parquet.read_table(file, partitioning=None).to_pylist()]

    def manifest(self):
        """The artifacts of the verified output, without the exchanges; None: it was not published."""
        file = self.objects / "outputs" / EVALUATION / ".dyff" / "artifacts.json"
        if not file.exists():
            return None
        listed = msgspec.json.decode(file.read_bytes())["artifacts"]
        return [each for each in listed if not each["path"].startswith(".dyff/exchanges/")]

    def exchanges(self, name="artifacts.json"):
        """The exchanges that the manifest lists."""
        file = self.objects / "outputs" / EVALUATION / ".dyff" / name
        listed = msgspec.json.decode(file.read_bytes())["artifacts"]
        keys = [each["key"] for each in listed if each["path"].startswith(".dyff/exchanges/")]
        return [row for key in keys for row in pa.parquet.read_table(self.objects / key, partitioning=None).to_pylist()]

    def raw_exchanges(self):
        """The files of exchanges of all attempts."""
        return sorted((self.objects / "outputs" / EVALUATION / ".dyff" / "raw-exchanges").rglob("*.parquet"))

    def incomplete(self):
        """The whole manifest of what a failed run completed; None: it was not published."""
        file = self.objects / "outputs" / EVALUATION / ".dyff" / "incomplete.json"
        return msgspec.json.decode(file.read_bytes()) if file.exists() else None

    def verified(self, artifacts=None):
        """The verified rows, or those of other artifacts, read as the published package reads a downloaded output."""
        listed = self.manifest() if artifacts is None else artifacts
        files = [str(self.objects / artifact["key"]) for artifact in listed if not artifact["path"].startswith(".")]
        return published.open_dataset(files).to_table()

    def errors(self, artifacts=None):
        """What users see of items without responses."""
        listed = self.manifest() if artifacts is None else artifacts
        [artifact] = [each for each in listed if each["path"] == ".dyff/errors.parquet"]
        return pa.parquet.read_table(self.objects / artifact["key"]).to_pylist()

    def raw_error(self, rows):
        """Record errors as an earlier attempt would."""
        file = self.objects / "outputs" / EVALUATION / ".dyff" / "errors" / "earlier" / "part-000000-earlier.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pa.parquet.write_table(pa.Table.from_pylist(rows, schema=failures.SCHEMA), file)

    def raw_errors(self):
        """What all attempts recorded of them."""
        files = sorted((self.objects / "outputs" / EVALUATION / ".dyff" / "errors").rglob("*.parquet"))
        return [row for file in files for row in pa.parquet.read_table(file, partitioning=None).to_pylist()]

    def has_progress(self):
        return (self.objects / "outputs" / EVALUATION / ".dyff" / "progress.json").exists()

    def progress(self):
        return msgspec.json.decode((self.objects / "outputs" / EVALUATION / ".dyff" / "progress.json").read_bytes())


class Run:
    """A step that has ended."""

    def __init__(self, code: int, lines: list[str]) -> None:
        self.code, self.lines = code, lines
        self.last = lines[-1] if lines else ""

    def __repr__(self) -> str:
        return f"exit code {self.code}:\n" + "\n".join(self.lines)


class Steps:
    """Starts steps as subprocesses, as the cluster does."""

    def __init__(self, store: Store, directory: Path) -> None:
        self._store, self._directory = store, directory

    def manifest(self, url=None, *, replicas=1, replications=1, workers=2, endpoint="v1/completions", client=None, **interface):
        """Write a manifest made by the orchestrator's own code; its path."""
        entity = {
            "dataset": DATASET,
            "replications": replications,
            "workersPerReplica": workers,
            "client": client or {},
            "inferenceSession": {
                "replicas": replicas,
                "inferenceService": {"id": "5e" * 16, "interface": an_interface(endpoint, **interface)},
            },
        }
        spec = {"id": EVALUATION, "account": "test", **sure(registry.BY_KIND["Evaluation"].run).spec(entity)}
        file = self._directory / f"manifest-{time.monotonic_ns()}.json"
        file.write_bytes(msgspec.json.encode({"spec": spec, "session": {"url": url or "http://127.0.0.1:9"}}))
        return file

    def start(self, name, *arguments, attempt="attempt-1"):
        environment = {**os.environ, **self._store.environment, "DYFF_ATTEMPT": attempt}
        command = [sys.executable, "-m", "dyff.workflows", name, *map(str, arguments)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, name, *arguments, attempt="attempt-1", timeout_s=60):
        process = self.start(name, *arguments, attempt=attempt)
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Run(process.returncode, output.splitlines())

    def call(self, name, *arguments, attempt="attempt-1"):
        """Like `run`, in this process: much faster, for what needs no process of its own."""
        output = io.StringIO()
        environment = {**self._store.environment, "DYFF_ATTEMPT": attempt}
        with mock.patch.dict(os.environ, environment), contextlib.redirect_stdout(output):
            code = importlib.import_module(f"dyff.workflows.{name.replace('-', '_')}").main([*map(str, arguments)])
        return Run(code, output.getvalue().splitlines())

    def evaluate(self, *args, attempt="attempt-1", process=False, **kwargs):
        manifest = self.manifest(*args, **kwargs)
        return (self.run if process else self.call)("evaluation-client", "--manifest", manifest, attempt=attempt)

    def verify(self, attempt="verify-1", process=False, **kwargs):
        manifest = self.manifest(**kwargs)
        return (self.run if process else self.call)("verify-evaluation-output", "--manifest", manifest, attempt=attempt)

    def salvage(self, attempt="salvage-1", **kwargs):
        return self.call("publish-incomplete-output", "--manifest", self.manifest(**kwargs), attempt=attempt)


def an_interface(endpoint="v1/completions", *, schema=SCHEMA, inputs=PROMPT_IN, outputs=CHOICES_OUT):
    return {
        "endpoint": endpoint,
        "outputSchema": {"arrowSchema": base64.b64encode(schema.serialize()).decode()},
        "inputPipeline": inputs,
        "outputPipeline": outputs,
    }


def rows(count, start=0):
    return [{"_index_": start + number, "text": f"prompt number {start + number}"} for number in range(count)]


def outputs(indices, replication=0, text="an answer"):
    replication_id = specs.replication_id(EVALUATION, replication)
    return [{"_index_": index, "_replication_": replication_id, "responses": [{"_response_index_": 0, "text": text}]} for index in indices]


def pairs(found):
    return sorted((row["_index_"], row["_replication_"]) for row in found)


def all_pairs(indices, replications=1):
    return sorted((index, specs.replication_id(EVALUATION, number)) for index in indices for number in range(replications))


def start_mock_service(port):
    environment = {**os.environ, "PORT": str(port), "HOST": "127.0.0.1"}
    return subprocess.Popen([sys.executable, "-m", "dyff.workflows", "mock-service"], env=environment)


@contextlib.contextmanager
def a_mock_service(port=None):
    """A running mock service; its URL."""
    port = port or free_port()
    process = start_mock_service(port)
    try:
        wait_for(lambda: is_ready(port), 30)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def is_ready(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def wait_for(condition, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        waiting.a_blocking_moment()
    return value


def md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


@contextlib.contextmanager
def a_service(reply, probe=200):
    """A service that answers POSTs of `{"prompt"}` with `{"text": [...], "choices": [...]}`, and counts them by prompt.

    `probe`: the status of its answers to GET, or an iterator of them.
    `reply(prompt, tries)` gives the status, or a tuple of status, headers, delay in seconds and answer.
    """
    seen: Counter[Any] = Counter()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self._send(probe if isinstance(probe, int) else next(probe), {}, {})

        def do_POST(self):
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompt"]
            prompt = given if isinstance(given, str) else json.dumps(given)
            seen[prompt] += 1
            given = reply(prompt, seen[prompt])
            status, headers, delay_s, answer = (
                (*given, *(None, {}, 0, "an answer")[len(given) :]) if isinstance(given, tuple) else (given, {}, 0, "an answer")
            )
            # real time: the service answers that late
            time.sleep(delay_s)
            self._send(status, headers, {"text": [answer], "choices": [{"text": answer}]})

        def _send(self, status, headers, body):
            data = json.dumps(body).encode()
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_):
            pass

    with serving(http_servers.Server(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}", seen


def a_slow_service(delay_s):
    return a_service(lambda prompt, tries: (200, {}, delay_s))


@contextlib.contextmanager
def a_fast_service(delay_s=0.0):
    """A service in a process of its own that costs as little as can be, see `fast_service`; its URL."""
    command = [sys.executable, str(Path(__file__).with_name("fast_service.py")), str(delay_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(sure(process.stdout).readline())}"
        finally:
            process.kill()


@contextlib.contextmanager
def counting_proxy(url):
    """Passes bytes on to `url`; its own URL, and the list of connections made to it."""
    target = ("127.0.0.1", int(url.rpartition(":")[2]))
    connections = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            connections.append(self.client_address)
            with socket.create_connection(target) as upstream:
                back = threading.Thread(target=self._pump, args=(upstream, self.request))
                back.start()
                self._pump(self.request, upstream)
                back.join()

        @staticmethod
        def _pump(source, sink):
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)

    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}", connections


@contextlib.contextmanager
def serving(server):
    server.daemon_threads = True
    server.socket.listen(128)  # by default five; a connection beyond them is a second late
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
