"""The evaluation client on a server that takes 20 ms a request, against a bare aiohttp loop, in one run.

    .venv/bin/python benchmarks/client.py [--items 12000] [--in-flight 64] [--rounds 3] [--profile]

`dyff`: the installed step, started like in a cluster. It reads the dataset, runs both pipelines, stores Parquet and writes progress.
`aiohttp`: the same number of workers, which post the same JSON and decode the answers, on uvloop. It reads and stores nothing.

Both run with persistent connections (one replica) and with a new connection for each call (several replicas). The server is a
process of its own, in raw asyncio, and does the measuring: a rate covers the time from its first to its last request, so start-up
does not count. CPU time is that of the client (user and system, all threads), minus that of a run with one item. The clients
alternate, round after round; the ratios are between medians. `--profile` prints where the client's event loop spends its time instead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

DELAY_S = 0.02


async def bare(url: str, items: int, in_flight: int, keep_open: bool) -> None:
    """A plain loop, as it would be written by hand."""
    import aiohttp

    left = iter(range(items))
    answers = []

    async def worker(session: aiohttp.ClientSession) -> None:
        for index in left:
            async with session.post(f"{url}/v1/completions", json={"prompt": f"prompt number {index}"}) as response:
                answers.append((index, await response.json()))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=not keep_open)) as session:
        await asyncio.gather(*(worker(session) for _ in range(in_flight)))


def measured(command: list[str], environment: dict[str, str], port: int) -> tuple[float, float]:
    """Run a client; returns the calls per second that the server saw, and the client's CPU seconds."""
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} failed:\n{output}")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats") as answer:
        seen = json.load(answer)
    rate = (seen["count"] - 1) / (seen["last"] - seen["first"]) if seen["count"] > 1 else 0.0
    return rate, usage.ru_utime + usage.ru_stime


def with_server(run: Callable[[int], tuple[float, float]]) -> tuple[float, float]:
    """Return `run(port)` with a fresh server."""
    from tests.workflows import runs

    with runs.a_fast_service(DELAY_S) as url:
        return run(int(url.rpartition(":")[2]))


def dyff(items: int, in_flight: int, keep_open: bool) -> tuple[float, float]:
    """Run the step."""
    from tests.workflows import runs

    with tempfile.TemporaryDirectory() as folder:
        store = runs.Store(Path(folder) / "store")
        store.dataset(runs.rows(items))
        replicas = 1 if keep_open else 2
        steps = runs.Steps(store, Path(folder))

        def run(port: int) -> tuple[float, float]:
            manifest = steps.manifest(f"http://127.0.0.1:{port}", replicas=replicas, workers=in_flight // replicas)
            command = [sys.executable, "-m", "dyff.workflows", "evaluation-client", "--manifest", str(manifest)]
            return measured(command, {"DYFF_STORAGE_URL": store.url, "DYFF_ATTEMPT": "attempt-1"}, port)

        return with_server(run)


def aiohttp_loop(items: int, in_flight: int, keep_open: bool) -> tuple[float, float]:
    """Run the bare loop."""

    def run(port: int) -> tuple[float, float]:
        arguments = [f"http://127.0.0.1:{port}", str(items), str(in_flight), str(int(keep_open))]
        return measured([sys.executable, __file__, "--bare", *arguments], {}, port)

    return with_server(run)


def profile(items: int, in_flight: int) -> None:
    """Print where the event loop's thread spends its time."""
    import cProfile
    import pstats

    from tests.workflows import runs

    with tempfile.TemporaryDirectory() as folder:
        store = runs.Store(Path(folder) / "store")
        store.dataset(runs.rows(items))

        def run(port: int) -> tuple[float, float]:
            profiler = cProfile.Profile()
            profiler.enable()
            ended = runs.Steps(store, Path(folder)).evaluate(f"http://127.0.0.1:{port}", workers=in_flight)
            profiler.disable()
            print(ended)
            pstats.Stats(profiler).sort_stats("tottime").print_stats(35)
            return 0.0, 0.0

        with_server(run)


def main() -> None:
    """Run everything."""
    import uvloop

    if sys.argv[1:2] == ["--bare"]:
        return uvloop.run(bare(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "1"))
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=12_000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    if given.profile:
        return profile(given.items, given.in_flight)
    most = f"at most {given.in_flight / DELAY_S:.0f} a second"
    print(f"{given.items} items, {given.in_flight} in flight, {DELAY_S * 1000:.0f} ms a request: {most}")
    for keep_open in (True, False):
        clients = {"dyff": dyff, "aiohttp": aiohttp_loop}
        starts = {name: run(1, given.in_flight, keep_open)[1] for name, run in clients.items()}
        runs = [{name: run(given.items, given.in_flight, keep_open) for name, run in clients.items()} for _ in range(given.rounds)]
        rates = {name: statistics.median(each[name][0] for each in runs) for name in clients}
        cpu = {name: statistics.median(each[name][1] - starts[name] for each in runs) / given.items * 1e6 for name in clients}
        print("one replica, kept connections:" if keep_open else "several replicas, a connection for each call:")
        for name in clients:
            print(f"  {name:8} {rates[name]:6.0f} calls/s, {cpu[name]:5.0f} us of CPU an item (and {starts[name]:.2f} s to start)")
        print(f"  the evaluation client has {rates['dyff'] / rates['aiohttp']:.0%} of the bare loop's rate")
    return None


if __name__ == "__main__":
    main()
