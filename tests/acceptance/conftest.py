"""A server as a person starts it: the installed command, on a data directory of its own, on a free port."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet
import pytest
from dyff.client import Client
from dyff.schema import platform, requests

from tests import waiting
from tests.acceptance import forks
from tests.conftest import missing
from tests.narrowing import sure

DYFF = os.environ.get("TESTED_DYFF") or str(Path(sys.executable).parent / "dyff")
"""The installed command; another environment's, where the tests run in one that has only a client."""

DISK_BYTES = 48 * 2**20

DIGEST = "sha256:" + "0" * 64


def plain_environment() -> dict[str, str]:
    """This process's environment without settings and without credentials."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("DYFF_", "AWS_"))}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return forks.run([DYFF, *arguments], plain_environment())


class Server:
    """`dyff serve` as a process, which can be stopped, killed and started again on the same directory."""

    def __init__(self, directory: Path, settings: dict[str, str] | None = None, command: str | None = None) -> None:
        """`settings`: environment variables, such as `DYFF_QUOTAS__ADMITTED`. `command`: the program; None for forks of `DYFF`."""
        self.directory = directory
        self.program = command
        self.settings = settings or {}
        self.log, self.out = directory.with_suffix(".log"), directory.with_suffix(".out")
        self._began = 0
        self.endpoint = ""
        self._process: forks.Running | None = None

    def start(self, *flags: str, deadline_s: float = 120.0) -> None:
        """Start, and wait for the message that it is ready."""
        environment = plain_environment() | self.settings
        arguments = [self.program or DYFF, "serve", "--role", "all", "--data-dir", str(self.directory), "--port", "0", *flags]
        with self.log.open("a") as log, self.out.open("w") as out:
            self._began = log.tell()
            if self.program is None:
                self._process = forks.Process(arguments, environment, out, log)
            else:
                self._process = subprocess.Popen(arguments, stdout=out, stderr=log, env=environment)
        end = time.monotonic() + deadline_s
        while not (found := self._announced()):
            if not self.is_running or time.monotonic() > end:
                self.kill()
                pytest.fail(f"the server did not become ready: {self.out.read_text()}\n{self.log.read_text()[-3000:]}")
            waiting.a_blocking_moment()
        self.endpoint = found

    def _announced(self) -> str | None:
        """Its URL. A release before the log was JSON throughout prints it for people."""
        if found := re.search(r"API\s+(\S+)[\s\S]*dyff token create", self.out.read_text()):
            return found[1]
        return (self.lines("ready") or [{}])[-1].get("api")

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """The lines of the log since the last start; those with this event."""
        with self.log.open("rb") as log:
            log.seek(self._began)
            whole = log.read().rpartition(b"\n")[0].splitlines()
        lines = [json.loads(line) for line in whole if line.startswith(b"{")]
        return [line for line in lines if event in (None, line["event"])]

    def stop(self, deadline_s: float = 30.0) -> int:
        """SIGTERM; returns the exit code."""
        sure(self._process).send_signal(signal.SIGTERM)
        return sure(self._process).wait(deadline_s)

    def kill(self) -> None:
        """SIGKILL."""
        sure(self._process).kill()
        sure(self._process).wait()

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def command(self, *arguments: str) -> str:
        """What another `dyff` command on the same directory prints."""
        result = self._run(*arguments)
        assert result.returncode == 0, result.stderr + result.stdout
        return result.stdout.strip()

    def refused(self, *arguments: str) -> str:
        """What another `dyff` command on the same directory says when it fails."""
        result = self._run(*arguments)
        assert result.returncode != 0, result.stdout
        return result.stderr

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self.program or DYFF, *arguments, "--data-dir", str(self.directory)]
        environment = plain_environment() | self.settings
        if self.program is None:
            return forks.run(command, environment)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)

    def processes(self) -> list[str]:
        """Command lines of all processes that work below the data directory."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    place = os.readlink(entry / "cwd")
                except OSError:
                    continue
                if str(self.directory) in line or place.startswith(str(self.directory)):
                    found.append(f"{entry.name} {line}")
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One running server for a module's tests."""
    subject = Server(tmp_path_factory.mktemp("dyff") / "data")
    subject.start()
    yield subject
    if subject.is_running:
        assert subject.stop() == 0
    assert subject.processes() == []


@pytest.fixture
def dyff():
    """Runs the installed command: arguments to a completed process."""
    return run


@pytest.fixture
def fresh(tmp_path):
    """A server of the test's own, not yet started."""
    subject = Server(tmp_path / "data")
    yield subject
    if subject.is_running:
        subject.kill()


@pytest.fixture
def make_server(tmp_path):
    """Makes servers of the test's own, each with a name and not yet started; none is left running."""
    made = []

    def make(name: str, settings: dict[str, str] | None = None) -> Server:
        made.append(Server(tmp_path / name, settings))
        return made[-1]

    yield make
    for each in made:
        if each.is_running:
            each.kill()


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, small enough to fill."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        missing("no small file system: mounting one needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def server_on_disk(disk):
    """A server whose data directory, and nothing else, is on it."""
    subject = Server(disk / "data")
    subject.log = disk.parent / "server.log"
    yield subject
    if subject.is_running:
        subject.kill()


@pytest.fixture(params=["bus:embedded", pytest.param("bus:kafka", marks=pytest.mark.engines)])
def fresh_on_each_bus(request, tmp_path):
    """Like `fresh`, with the log here and on a broker."""
    settings = {}
    if request.param == "bus:kafka":
        if "DYFF_TEST_KAFKA" not in os.environ:
            missing("no Kafka: DYFF_TEST_KAFKA is not set; run make test-engines")
        settings = {"DYFF_BUS__KAFKA__BOOTSTRAP_SERVERS": os.environ["DYFF_TEST_KAFKA"], "DYFF_BUS__KAFKA__PREFIX": f"{uuid.uuid4().hex}."}
    subject = Server(tmp_path / "data", settings | {"DYFF_MIGRATIONS__AT_START": "everywhere"})
    yield subject
    if subject.is_running:
        subject.kill()


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """A real Kubernetes node that has Dyff's images."""
    from tests.acceptance import on_kubernetes
    from tests.engines.node.access import Node

    if "DYFF_TEST_NODE" not in os.environ:
        missing("no Kubernetes node: DYFF_TEST_NODE is not set; run make test-engines as root")
    found = Node(os.environ["DYFF_TEST_NODE"])
    on_kubernetes.load_images(found, tmp_path_factory.mktemp("images"))
    return found


@pytest.fixture(scope="module")
def account(server) -> str:
    """An account of its own."""
    return server.command("account", "create", "--name", "auditor")


@pytest.fixture(scope="module")
def token(server, account) -> str:
    """A token for it."""
    return server.command("token", "create", "--account", account, "--role", "Admin")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory) -> Path:
    """An Arrow dataset of 20 rows."""
    folder = tmp_path_factory.mktemp("prompts")
    table = pa.table({"_index_": pa.array(range(20), pa.int64()), "text": [f"prompt number {n}" for n in range(20)]})
    pyarrow.parquet.write_table(table, folder / "rows.parquet")
    return folder


def eventually(get, *wanted: str, deadline_s: float = 120.0):
    """The entity, once its status is one of `wanted`."""
    end = time.monotonic() + deadline_s
    while True:
        entity = get()
        if entity.status in wanted:
            return entity
        terminal = entity.status in ("Failed", "Error", "Complete", "Ready", "Terminated", "Deleted")
        assert not terminal, f"{entity.status}: {entity.reason}: {entity.message}"
        assert time.monotonic() < end, f"still {entity.status}: {entity.reason}: {entity.message}"
        waiting.a_blocking_moment(0.1)


@pytest.fixture(scope="module")
def client(server, token):
    """The published client."""
    return Client(api_token=token, endpoint=server.endpoint)


@pytest.fixture(scope="module")
def dataset(client, account, prompts):
    """Those rows, uploaded with it."""
    created = client.datasets.create_arrow_dataset(prompts, account=account, name="prompts")
    client.datasets.upload_arrow_dataset(created, prompts)
    return eventually(lambda: client.datasets.get(created.id), "Ready")


@pytest.fixture(scope="module")
def service(client, account, service_request):
    """The mock service, made with it."""
    request = requests.InferenceServiceCreateRequest.model_validate(service_request(account))
    created = client.inferenceservices.create(request)
    return eventually(lambda: client.inferenceservices.get(created.id), "Ready")


@pytest.fixture(scope="session", autouse=True)
def _closing():
    """The published client never closes its connections: this does, when all tests are done."""
    made, make = [], httpx.Client.__init__

    def remembered(self, *arguments, **options):
        made.append(self)
        make(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.Client, "__init__", remembered)
        yield
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def service_request():
    """Makes the request of an inference service on the published mock image, in the form of both clients."""

    def make(account: str, *, endpoint: str = "openai/v1/completions", name: str = "mock") -> dict[str, Any]:
        schema = platform.DataSchema.make_output_schema(pa.schema([("text", pa.string())]))
        return {
            "account": account,
            "name": name,
            "runner": {
                "kind": "mock",
                "image": {"host": "registry.gitlab.com", "name": "dyff/workflows/inferenceservice-mock", "digest": DIGEST},
                "resources": {"memory": "1Gi", "storage": "1Gi"},
            },
            "interface": {
                "endpoint": endpoint,
                "outputSchema": {"arrowSchema": schema.arrowSchema},
                "inputPipeline": [{"kind": "TransformJSON", "configuration": {"prompt": "$.text", "model": "mock"}}],
                "outputPipeline": [
                    {"kind": "ExplodeCollections", "configuration": {"collections": ["choices"]}},
                    {"kind": "TransformJSON", "configuration": {"text": "$.choices.text"}},
                ],
            },
        }

    return make
