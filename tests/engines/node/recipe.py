"""A real Kubernetes node with its control plane: kubelet, containerd, kube-proxy, DNS. Containers run, Services are reached by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from image import archive, packages
from tests.engines import building, ports
from tests.engines.kubernetes import recipe as control_plane
from tests.engines.recipes import EngineError, Place, Recipe, run
from tests.narrowing import sure

_HIDDEN = ("/run", "/var/lib", "/var/log")
"""What `init.sh` mounts."""
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
        """The control plane, and what unpacks packages and writes images."""
        shared = [Path(sure(each.__file__)).read_bytes() for each in (archive, packages)]
        return b"\0".join([building.fingerprint(self._kubernetes).encode(), *shared])

    def lacking(self, built: bool) -> str | None:
        if os.geteuid() != 0:
            return "a node needs root, for namespaces and cgroups of its own"
        if hiding := [each for each in _HIDDEN if building.root().is_relative_to(each)]:
            return f"a node has a {hiding[0]} of its own and does not see {building.root()}; set DYFF_ENGINES_DIR to another folder"
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
        (place.home / "node.json").unlink(missing_ok=True)
        run(sys.executable, "-I", str(place.home / "launcher.py"), "--clean", _number(place))

    def address(self, place: Place) -> str:
        return str(place.home / "admin.kubeconfig")

    def check(self, address: str) -> None:
        """The launcher writes where the node is when its DNS has answered; the API server takes something and gives it back."""
        reported = json.loads((Path(address).parent / "node.json").read_text())
        if not Path(f"/proc/{reported['init']}").exists():
            raise EngineError("the node has ended")
        self._kubernetes.check(address)


def _number(place: Place) -> str:
    """Of the node on this machine: unique, since the port is."""
    return str(place.ports["number"] - ports.FIRST)


def _sweep(launcher: Path) -> None:
    """What nodes left whose runner was killed: nobody has reserved their number any more, and nothing runs in their namespaces."""
    for space in Path("/run/netns").glob("dyff[0-9]*"):
        number = space.name.removeprefix("dyff")
        pids = subprocess.run(["ip", "netns", "pids", space.name], check=False, capture_output=True, text=True).stdout
        if not pids.strip() and not ports.is_reserved(int(number) + ports.FIRST):
            run(sys.executable, "-I", str(launcher), "--clean", number)
