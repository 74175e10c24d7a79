"""One evaluation of one item against the mock service: the CPU time of all processes, and the time until it is Complete.

It starts `dyff serve --role all` in a fresh data directory and runs evaluations one after the other, then twenty at once. The baseline
is a bare `import pyarrow.dataset` in the same run. Run: `python benchmarks/overhead.py [COUNT]`.

This process adopts every orphan (PR_SET_CHILD_SUBREAPER), so each process that a server ever started ends as a child of a process
that is measured here, and nothing is missed: neither detached shims nor short-lived grandchildren. Needs Linux.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import httpx
import pyarrow as pa
import pyarrow.parquet
from overhead_parts import accounting, timeline

from dyff.sdk import Client, schemas

COUNT = 10
AT_ONCE = 20
POLL_S = 0.03
DEADLINE_S = 120.0
QUIET_S = 0.2
DYFF = str(Path(sys.executable).parent / "dyff")
IMAGE = {"host": "registry.example.com", "name": "dyff/workflows/inferenceservice-mock", "digest": "sha256:" + "0" * 64}
WITHOUT = "import sys; sys.modules['numpy'] = sys.modules['pandas'] = None; import pyarrow.dataset"
"""The same import where Arrow does not find the two packages that it imports only for conversions."""


class Bench(NamedTuple):
    """A running server and what evaluations need. `folder`: the server's data directory."""

    server: subprocess.Popen[str]
    http: httpx.Client
    folder: Path
    body: dict[str, object]

    def create(self) -> str:
        """Create an evaluation; returns its ID."""
        answer = self.http.post("/evaluations", json=self.body)
        return str(answer.raise_for_status().json()["id"])

    def wait(self, *ids: str) -> None:
        """Wait until all are Complete."""
        deadline, left = time.monotonic() + DEADLINE_S, list(ids)
        while left:
            time.sleep(POLL_S)
            found = self.http.get(f"/evaluations/{left[0]}", headers={"prefer": "no-wait"}).json()
            if found["status"] == "Complete":
                left.pop(0)
            elif found["status"] in ("Failed", "Error") or time.monotonic() > deadline:
                raise SystemExit(f"evaluation {left[0]}: {found['status']} {found.get('reason')} {found.get('message')}")

    def settle(self) -> None:
        """Wait until all pods are gone, since ending them costs CPU time as well."""
        pods = self.folder / "pods"
        deadline = time.monotonic() + DEADLINE_S
        while any(entry.is_dir() for entry in os.scandir(pods)) and time.monotonic() < deadline:
            # Records and logs stay until the Pod is deleted; what counts is that no shim runs.
            if not timeline.running(pods):
                break
            time.sleep(QUIET_S)
        time.sleep(QUIET_S)


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    accounting.adopt_orphans()
    with tempfile.TemporaryDirectory() as folder:
        command = [DYFF, "serve", "--role", "all", "--data-dir", folder, "--port", "0", "--log-level", "warning"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"DYFF_LOGS__FORMAT": "text"})
        try:
            bench = prepare(server, Path(folder))
            bare = baseline("import pyarrow.dataset")
            light = baseline(WITHOUT)
            print(
                f"load average {os.getloadavg()[0]:.1f}; bare `import pyarrow.dataset`: {bare:.2f} s of CPU, {light:.2f} s without pandas"
            )
            one_by_one(bench, count, bare)
            at_once(bench, bare)
            explain(bench)
        finally:
            server.terminate()
            server.wait()


def prepare(server: subprocess.Popen[str], folder: Path) -> Bench:
    """Make an account, a dataset of one row and a mock service; run one evaluation, so that everything has been used once."""
    endpoint = next(line.split()[1] for line in server.stdout or () if line.split()[:1] == ["API"])
    account = output("account", "create", "--name", "bench", "--data-dir", str(folder))
    token = output("token", "create", "--account", account, "--data-dir", str(folder))
    with tempfile.TemporaryDirectory() as rows:
        pyarrow.parquet.write_table(pa.table({"_index_": pa.array([0], pa.int64()), "text": ["hello"]}), Path(rows) / "rows.parquet")
        client = Client(endpoint=endpoint, api_token=token)
        dataset = client.datasets.create_arrow_dataset(rows, account=account, name="one row")
        client.datasets.upload_arrow_dataset(dataset, rows)
        service = client.inferenceservices.create(a_service(account))
        client.inferenceservices.wait(service.id, progress=False)
        client.datasets.wait(dataset.id, progress=False)
    http = httpx.Client(base_url=endpoint, headers={"authorization": f"Bearer {token}"})
    body = {"account": account, "dataset": dataset.id, "inferenceSession": {"inferenceService": service.id}}
    bench = Bench(server, http, folder, body)
    bench.wait(bench.create())
    bench.settle()
    return bench


def a_service(account: str) -> dict[str, object]:
    """Return a request for a service on the mock image."""
    return {
        "account": account,
        "name": "mock",
        "runner": {"kind": "mock", "image": IMAGE, "resources": {"memory": "256Mi"}},
        "interface": {
            "endpoint": "v1/completions",
            "inputPipeline": [{"kind": "TransformJSON", "configuration": {"prompt": "$.text"}}],
            "outputPipeline": [
                {"kind": "ExplodeCollections", "configuration": {"collections": ["choices"]}},
                {"kind": "TransformJSON", "configuration": {"text": "$.choices.text"}},
            ],
            "outputSchema": schemas.output_schema(pa.schema([("text", pa.string())])),
        },
    }


def one_by_one(bench: Bench, count: int, bare: float) -> None:
    """Measure evaluations, each after the last one has ended."""
    cpu, wall, own = [], [], []
    for _ in range(count):
        used, server = accounting.cpu_s(), accounting.own_cpu_s(bench.server.pid)
        begun = time.perf_counter()
        bench.wait(bench.create())
        wall.append(time.perf_counter() - begun)
        bench.settle()
        cpu.append(accounting.cpu_s() - used)
        own.append(accounting.own_cpu_s(bench.server.pid) - server)
    middle = statistics.median(cpu)
    print(f"one at a time   CPU  median {middle:5.2f} s, best {min(cpu):.2f}; {middle / bare:.2f} bare imports; goal 0.50 s")
    print(f"                of it the server {statistics.median(own):5.2f} s")
    print(f"                wall median {statistics.median(wall):5.2f} s, best {min(wall):.2f}, load {os.getloadavg()[0]:.1f}; goal 0.80 s")


def at_once(bench: Bench, bare: float) -> None:
    """Measure evaluations that were created together."""
    used, begun = accounting.cpu_s(), time.perf_counter()
    bench.wait(*[bench.create() for _ in range(AT_ONCE)])
    wall = time.perf_counter() - begun
    bench.settle()
    cpu = (accounting.cpu_s() - used) / AT_ONCE
    print(f"{AT_ONCE} at once      {AT_ONCE / wall:5.2f} per second; goal 3.00. CPU {cpu:.2f} s each, {cpu / bare:.2f} bare imports")


def explain(bench: Bench) -> None:
    """Print where the time goes in one evaluation: CPU by process, and when each part began and ended."""
    watcher = timeline.Watcher(bench.folder / "pods")
    with watcher:
        begun = time.time()
        bench.wait(bench.create())
        ended = time.time()
        bench.settle()
    print("one evaluation, CPU by process (sampled, so processes that live for milliseconds are missing):")
    for name, seconds in watcher.by_process():
        print(f"  {seconds:6.2f} s  {name}")
    print("its course, seconds after the request:")
    for moment, what in sorted([*watcher.events(begun), (ended, "the account sees Complete")]):
        print(f"  {moment - begun:6.3f}  {what}")


def baseline(code: str) -> float:
    """Return the median CPU seconds of running `code` in a fresh interpreter."""
    times = []
    for _ in range(3):
        before = accounting.cpu_s()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(accounting.cpu_s() - before)
    return statistics.median(times)


def output(*arguments: str) -> str:
    """Return what a `dyff` command prints."""
    return subprocess.run([DYFF, *arguments], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
