"""The server as users experience it: start-up, idle memory, and the time from create to readable.

Start-up is compared with a bare `python -c "import litestar, uvicorn"` in the same run, the latency with a bare
`GET /health` of the same server. Run: `python benchmarks/serve.py`.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

DYFF = str(Path(sys.executable).parent / "dyff")
CREATES = 500


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        command = [DYFF, "serve", "--role", "all", "--data-dir", folder, "--port", "0", "--log-level", "error"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"DYFF_LOGS__FORMAT": "text"})
        try:
            endpoint = _endpoint(server)
            start_up = time.perf_counter() - started
            bare = _seconds([sys.executable, "-c", "import litestar, uvicorn"])
            print(f"start-up          {start_up:5.2f} s     bare import of litestar and uvicorn {bare:.2f} s, ratio {start_up / bare:.1f}")
            time.sleep(2)
            print(f"idle memory       {_resident_mb(server.pid):5.0f} MB")
            _latency(endpoint, folder)
        finally:
            server.terminate()
            server.wait()


def _endpoint(server: subprocess.Popen[str]) -> str:
    for line in server.stdout:
        if match := re.search(r"API\s+(\S+)", line):
            return match[1]
    raise SystemExit("the server did not start")


def _latency(endpoint: str, folder: str) -> None:
    account = _output("account", "create", "--name", "bench", "--data-dir", folder)
    token = _output("token", "create", "--account", account, "--data-dir", folder)
    body = {"account": account, "name": "m", "artifact": {"kind": "Mock"}, "source": {"kind": "Mock"}, "resources": {"storage": "1Mi"}}
    readable, bare = [], []
    with httpx.Client(base_url=endpoint, headers={"authorization": f"Bearer {token}"}) as client:
        for _ in range(CREATES):
            begun = time.perf_counter()
            created = client.post("/models", json=body).raise_for_status().json()["id"]
            while client.get(f"/models/{created}", headers={"prefer": "no-wait"}).status_code != 200:
                pass
            readable.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            client.get(endpoint.removesuffix("/v0") + "/health")
            bare.append(time.perf_counter() - begun)
    for name, q in (("median", 0.5), ("p99", 0.99)):
        mine, theirs = _quantile(readable, q), _quantile(bare, q)
        print(f"create to readable {name:<6} {mine * 1e3:6.2f} ms   bare GET {theirs * 1e3:.2f} ms, ratio {mine / theirs:.1f}")


def _quantile(values: list[float], q: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(q * 100) - 1]


def _output(*arguments: str) -> str:
    return subprocess.run([DYFF, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def _seconds(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - begun


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
