"""A real Kubernetes node with its control plane: kubelet, containerd, kube-proxy, DNS. Containers run, Services are reached by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from image import archive, packages
from tests.engines import building
from tests.engines.kubernetes import recipe as control_plane
from tests.engines.recipes import Place, Recipe, run

_NUMBERS = 250
_STALE_S = 600.0
_PACKAGES = (
    "containerd", "runc", "containernetworking-plugins", "libseccomp2", "nftables", "libnftables1", "libnftnl11", "libmnl0", "libxtables12",
    "libjansson4", "libedit2", "libbsd0", "libmd0", "libtinfo6",
)  # fmt: skip


class Node(Recipe):
    name = "node"
    variable = "DYFF_TEST_NODE"
    adapters = ("cluster:node",)
    folder = Path(__file__).parent
    ports = ("number",)
    programs = ("ip", "nsenter", "unshare", "openssl")
    build_programs = ("go", "apt-get", "dpkg-deb")

    def __init__(self) -> None:
        self._kubernetes = control_plane.Kubernetes()

    @property
    def title(self) -> str:
        return f"{self._kubernetes.title} with a node"

    def identity(self) -> bytes:
        return building.fingerprint(self._kubernetes).encode()

    def lacking(self, built: bool) -> str | None:
        if os.geteuid() != 0:
            return "a node needs root, for namespaces and cgroups of its own"
        return super().lacking(built)

    def build(self, target: Path) -> None:
        """Debian's packages are only unpacked; nothing is installed."""
        building.build(self._kubernetes)
        packages.unpack(_PACKAGES, target / "packages")
        images = target / "images"
        images.mkdir()
        for name, linked in (("coredns", "-s -w"), ("pause", "-s -w")):
            control_plane.compile_go(".", self.folder / name, target / "bin" / name, linked)
            program = {f"/{name}": target / "bin" / name}
            archive.write(images / f"{name}.tar", f"dyff.local/{name}:1", {"Entrypoint": [f"/{name}"]}, files=program)
        shutil.copy(self.folder / "init.sh", target)
        shutil.copy(self.folder / "coredns/manifests.yaml", target / "coredns.yaml")
        shutil.copytree(self.folder / "configuration", target / "configuration")

    def prepare(self, place: Place) -> None:
        shutil.copy(self.folder / "launcher.py", place.home)
        _sweep(place.home / "launcher.py")

    def command(self, place: Place) -> list[str]:
        kubernetes = building.build(self._kubernetes)
        return [sys.executable, "-I", str(place.home / "launcher.py"), str(place.home), str(place.built), str(kubernetes), _number(place)]

    def clean(self, place: Place) -> None:
        run(sys.executable, "-I", str(place.home / "launcher.py"), "--clean", _number(place))

    def address(self, place: Place) -> str:
        return str(place.home / "admin.kubeconfig")

    def check(self, address: str) -> None:
        """The launcher is done when it has written where the node is: then its DNS answers."""
        if not (Path(address).parent / "node.json").exists():
            raise FileNotFoundError(f"{address} is not there yet")


def _number(place: Place) -> str:
    """Of the node on this machine: as good as unique, since the port is."""
    return str(place.ports["number"] % _NUMBERS)


def _sweep(launcher: Path) -> None:
    """What nodes left whose runner was killed: their namespaces are empty and old."""
    for space in Path("/run/netns").glob("dyff[0-9]*"):
        pids = subprocess.run(["ip", "netns", "pids", space.name], check=False, capture_output=True, text=True).stdout
        if not pids.strip() and time.time() - space.stat().st_mtime > _STALE_S:
            run(sys.executable, "-I", str(launcher), "--clean", space.name.removeprefix("dyff"))
