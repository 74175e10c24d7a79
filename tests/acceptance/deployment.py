"""Dyff as in production: each role a process of its own, several of some, on engines that they share."""

from __future__ import annotations

import os
import re
import signal
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests import waiting
from tests.acceptance import forks
from tests.acceptance.conftest import DYFF, plain_environment
from tests.conftest import missing
from tests.engines.ports import free_port
from tests.narrowing import sure

SECRET = "storage"


ON_THE_LOCAL_CLUSTER = ["api,orchestrator,informer,operator", "aggregator", "aggregator", "sink", "sink"]
"""Roles by process. The local cluster belongs to one process, so those that need it are one."""


def engines(folder: Path) -> dict[str, str]:
    """Settings for all engines but the cluster, with names of their own, and the credentials that belong to them."""
    absent = [name for name in ("DYFF_TEST_KAFKA", "DYFF_TEST_MONGODB", "DYFF_TEST_S3") if name not in os.environ]
    if absent:
        missing(f"no engines: {', '.join(absent)} not set; run make test-engines")
    own = uuid.uuid4().hex[:12]
    store = urlsplit(os.environ["DYFF_TEST_S3"])
    credentials = {"AWS_ACCESS_KEY_ID": store.username or "", "AWS_SECRET_ACCESS_KEY": store.password or ""}
    secret = folder / "secrets" / SECRET
    secret.mkdir(parents=True)
    for name, value in credentials.items():
        (secret / name).write_text(value)
    return credentials | {
        "DYFF_BUS__KAFKA__BOOTSTRAP_SERVERS": os.environ["DYFF_TEST_KAFKA"],
        "DYFF_BUS__KAFKA__PREFIX": f"{own}.",
        "DYFF_QUERY__MONGODB__URI": os.environ["DYFF_TEST_MONGODB"],
        "DYFF_QUERY__MONGODB__DATABASE": f"query-{own}",
        "DYFF_ACCOUNTS__MONGODB__URI": os.environ["DYFF_TEST_MONGODB"],
        "DYFF_ACCOUNTS__MONGODB__DATABASE": f"accounts-{own}",
        "DYFF_OBJECTS__URL": f"s3:/{store.path}/{own}?endpoint=http://{store.hostname}:{store.port}",
        "DYFF_OPERATOR__STORAGE_SECRET": SECRET,
        "DYFF_PODS__SECRETS_DIR": str(folder / "secrets"),
    }


class Process:
    """One `dyff serve --role ROLES`, which can be stopped, killed, paused and started again."""

    def __init__(self, name: str, roles: str, folder: Path, settings: dict[str, str]) -> None:
        """`name`: of its log. Its API has the same port in all its lives."""
        self.name, self.roles = name, roles
        self.log, self.directory = folder / f"{name}.log", folder / "data"
        self.port, self._probes = free_port(), free_port()
        self._settings = settings
        self._process: forks.Process | None = None

    def begin(self) -> None:
        """Start it, without waiting."""
        ports = {"DYFF_API__PORT": str(self.port), "DYFF_PROBES__PORT": str(self._probes)}
        environment = plain_environment() | self._settings | ports
        with self.log.open("a") as log:
            arguments = [DYFF, "serve", "--role", self.roles, "--data-dir", str(self.directory)]
            self._process = forks.Process(arguments, environment, log, log)

    def wait_ready(self, deadline_s: float = 120.0) -> None:
        """Wait until `/ready` says so."""
        end, reported = time.monotonic() + deadline_s, ""
        while True:
            try:
                answer = httpx.get(f"http://127.0.0.1:{self._probes}/ready")
                reported = answer.text
                if answer.status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if not self.is_running or time.monotonic() > end:
                self.kill()
                pytest.fail(f"{self.name} did not become ready: {reported}\n{self.log.read_text()[-3000:]}")
            waiting.a_blocking_moment(0.05)

    @property
    def metrics(self) -> str:
        """Where it serves its metrics, in all its lives."""
        return f"http://127.0.0.1:{self._probes}/metrics"

    def send(self, number: signal.Signals) -> None:
        """A signal, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def wait(self, deadline_s: float = 30.0) -> int:
        """Wait for its end, which was asked for; its exit code."""
        return sure(self._process).wait(deadline_s)

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None


class Deployment:
    """Processes that share their engines. Looks like `Server` to a test of the whole path."""

    def __init__(self, folder: Path, settings: dict[str, str], roles: list[str]) -> None:
        """`roles`: what each process has; a role may be named several times."""
        self.directory, self.settings = folder, settings
        counted = [f"{names.replace(',', '-')}-{number}" for number, names in enumerate(roles)]
        self.processes = [Process(name, names, folder, settings) for name, names in zip(counted, roles, strict=True)]

    def start(self) -> None:
        """Migrate, as an operator would; start all at once, and wait for each."""
        self.command("migrate", "pre", "--data-dir", str(self.directory / "data"))
        try:
            for each in self.processes:
                each.begin()
            for each in self.processes:
                each.wait_ready()
        except BaseException:
            self.kill()
            raise

    @property
    def endpoints(self) -> list[str]:
        """Of all that have the API."""
        return [f"http://127.0.0.1:{each.port}/v0" for each in self.processes if "api" in each.roles]

    @property
    def endpoint(self) -> str:
        """Of the first."""
        return self.endpoints[0]

    def command(self, *arguments: str) -> str:
        """What another `dyff` command with the same settings prints."""
        result = forks.run([DYFF, *arguments], plain_environment() | self.settings)
        assert result.returncode == 0, result.stderr + result.stdout
        return result.stdout.strip()

    def stop(self) -> list[int]:
        """SIGTERM to all; their exit codes."""
        for each in self.processes:
            each.send(signal.SIGTERM)
        return [each.wait() for each in self.processes]

    def kill(self) -> None:
        """SIGKILL to all."""
        for each in self.processes:
            each.kill()

    def lines(self, *words: str) -> list[str]:
        """Lines of all logs that have one of these words; for what must not be in them."""
        texts = [(each.name, line) for each in self.processes for line in each.log.read_text().splitlines()]
        return [f"{name}: {line}" for name, line in texts if any(re.search(word, line) for word in words)]
