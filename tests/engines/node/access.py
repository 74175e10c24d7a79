"""A node that runs, for tests: images into it, commands inside it, and servers of this machine for its pods."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from tests.engines import building
from tests.engines.kubernetes.recipe import Kubernetes
from tests.engines.node.recipe import Node as Recipe


class Node:
    """The node whose administrator's kubeconfig is in a file."""

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = kubeconfig
        self.home = Path(kubeconfig).parent
        reported = json.loads((self.home / "node.json").read_text())
        self.host: str = reported["host"]
        """The address of this machine as pods see it."""
        self._init = int(reported["init"])
        self._built, self._programs = building.build(Recipe()), building.build(Kubernetes()) / "bin"

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints; it must succeed."""
        command = [str(self._programs / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def apply(self, *objects: dict) -> None:
        """Make these objects."""
        self.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def load(self, archive: Path, *names: str) -> None:
        """Make the image in an archive known, also by other names."""
        self._containerd("images", "import", str(archive))
        known = json.loads(_member(archive, "manifest.json"))[0]["RepoTags"][0]
        for name in names:
            self._containerd("images", "tag", "--force", known, name)

    def program(self, name: str) -> int:
        """The pid of one of its programs, such as `kube-apiserver`, to kill or to pause it."""
        outside = int((self.home / f"{name}.pid").read_text())
        return int(Path(f"/proc/{outside}/task/{outside}/children").read_text().split()[0])

    def inside(self, *command: str) -> list[str]:
        """The command that runs this one in the node's network, where Services and pods are; files and programs are this machine's."""
        return ["nsenter", f"--target={self._init}", "--net", "--", *command]

    def _containerd(self, *arguments: str) -> None:
        packages = self._built / "packages"
        libraries = ":".join(str(packages / each) for each in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
        enter = ["nsenter", f"--target={self._init}", "--mount", "--pid", "--net", "--"]
        command = [*enter, str(packages / "usr/bin/ctr"), "-n", "k8s.io", *arguments]
        done = subprocess.run(command, env={**os.environ, "LD_LIBRARY_PATH": libraries}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"ctr {' '.join(arguments)}: {done.stderr}"

    @contextmanager
    def reaching(self, port: int) -> Iterator[int]:
        """Let pods reach what listens on a loopback port of this machine: at `host` and the port that is given."""
        with socket.create_server((self.host, 0)) as listener:
            threading.Thread(target=_accept, args=(listener, port), daemon=True).start()
            yield listener.getsockname()[1]
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _member(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as tar:
        found = tar.extractfile(name)
        assert found is not None
        return found.read()


def _accept(listener: socket.socket, port: int) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        try:
            far = socket.create_connection(("127.0.0.1", port), timeout=10)
            far.settimeout(None)
        except OSError:
            near.close()
            continue
        for source, target in ((near, far), (far, near)):
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(2**16):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    source.close()
