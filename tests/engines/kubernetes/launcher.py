"""Start a control plane and end with the first of its programs that ends. It needs the standard library only.

The pid of each program is in `<program>.pid`, its output in `<program>.log`, both in the working directory.
"""

from __future__ import annotations

import argparse
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

_DEADLINE_S = 60.0
_NOT_HERE = ("node-ipam", "node-route", "service-lb", "cloud-node-lifecycle", "ttl", "node-lifecycle")
"""Controllers of machines and clouds, which there are not."""


def main() -> int:
    """Run until one of them ends."""
    flags = argparse.ArgumentParser()
    for name in ("programs", "token", "api", "etcd", "peers"):
        flags.add_argument(f"--{name}", required=True)
    given = flags.parse_args()
    server = f"https://127.0.0.1:{given.api}"
    running = {name: _start(given.programs, name, *of(given)) for name, of in (("etcd", _etcd), ("kube-apiserver", _api))}
    _wait(f"{server}/readyz", given.token, running)
    common = ("--kubeconfig=kubeconfig", "--bind-address=127.0.0.1", "--secure-port=0", "--leader-elect=false")
    controllers = ",".join(["*", *(f"-{each}-controller" for each in _NOT_HERE)])
    manager = (*common, "--service-account-private-key-file=sa.key", "--root-ca-file=certs/apiserver.crt", f"--controllers={controllers}")
    running["kube-controller-manager"] = _start(given.programs, "kube-controller-manager", *manager)
    running["kube-scheduler"] = _start(given.programs, "kube-scheduler", *common)
    while all(each.poll() is None for each in running.values()):
        # real time: it watches over processes, and whichever of them ends first is reported
        time.sleep(0.2)
    return _blame(running)


def _etcd(given: argparse.Namespace) -> list[str]:
    clients, peers = f"http://127.0.0.1:{given.etcd}", f"http://127.0.0.1:{given.peers}"
    return [
        "--data-dir=data",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",  # what is killed here is programs, never the machine
    ]


def _api(given: argparse.Namespace) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{given.etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={given.api}",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        "--cert-dir=certs",
        "--token-auth-file=tokens.csv",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-account-signing-key-file=sa.key",
        "--service-account-key-file=sa.key",
        "--disable-admission-plugins=ServiceAccount",
    ]


def _start(programs: str, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    with open(f"{name}.log", "ab") as log:
        started = subprocess.Popen([str(Path(programs) / name), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    Path(f"{name}.pid").write_text(str(started.pid))
    return started


def _wait(url: str, token: str, running: dict[str, subprocess.Popen[bytes]]) -> None:
    """Until the API server is ready; its certificate is not there before."""
    end, reason = time.monotonic() + _DEADLINE_S, ""
    while True:
        try:
            context = ssl.create_default_context(cafile="certs/apiserver.crt")
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
            with opener.open(urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"}), timeout=5):
                return
        except (OSError, ssl.SSLError) as error:
            reason = str(error)
        if any(each.poll() is not None for each in running.values()):
            sys.exit(_blame(running))
        if time.monotonic() > end:
            sys.exit(f"the API server was not ready within {_DEADLINE_S:g} s ({reason})")
        # real time: between two questions to a server that starts
        time.sleep(0.1)


def _blame(running: dict[str, subprocess.Popen[bytes]]) -> int:
    """Say which ended, with its last words."""
    for name, each in running.items():
        if each.poll() is not None:
            words = Path(f"{name}.log").read_bytes()[-2000:].decode(errors="replace")
            sys.stdout.write(f"{name} ended with {each.returncode}; the end of {os.getcwd()}/{name}.log:\n{words}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
