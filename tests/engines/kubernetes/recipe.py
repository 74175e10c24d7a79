"""The control plane of Kubernetes, from its sources: etcd, API server, controller manager and scheduler. It has no node, so no pod runs."""

from __future__ import annotations

import base64
import re
import shutil
import ssl
import sys
import uuid
from pathlib import Path

import httpx
import yaml

from tests.engines.recipes import EngineError, Place, Recipe, run

PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet", "kube-proxy")
_CHECK_S = 10.0


class Kubernetes(Recipe):
    name = "kubernetes"
    variable = "DYFF_TEST_KUBECONFIG"
    adapters = ("cluster:kubernetes",)
    folder = Path(__file__).parent
    ports = ("api", "etcd", "peers")
    build_programs = ("go",)
    programs = ("openssl",)

    @property
    def version(self) -> str:
        """Such as 1.35.4."""
        found = re.search(r"^\s*k8s\.io/kubernetes v(\S+)", (self.folder / "components/go.mod").read_text(), re.M)
        if found is None:
            raise EngineError("components/go.mod names no version of k8s.io/kubernetes")
        return found[1]

    @property
    def title(self) -> str:
        return f"Kubernetes {self.version}"

    def build(self, target: Path) -> None:
        """Programs in `bin`, those of a node, too. Six to eight minutes where nothing was compiled before."""
        major, minor, _ = self.version.split(".")
        package = "k8s.io/component-base/version"
        reported = {
            f"{package}.gitVersion": f"v{self.version}",
            f"{package}.gitMajor": major,
            f"{package}.gitMinor": minor,
            "k8s.io/client-go/pkg/version.gitVersion": f"v{self.version}",
        }
        flags = "-s -w " + " ".join(f"-X {name}={value}" for name, value in reported.items())
        compiled = {f"k8s.io/kubernetes/cmd/{each}": (self.folder / "components", each, flags) for each in PROGRAMS}
        compiled["go.etcd.io/etcd/server/v3"] = (self.folder / "etcd", "etcd", "-s -w")
        for source, (folder, name, linked) in compiled.items():
            compile_go(source, folder, target / "bin" / name, linked)

    def prepare(self, place: Place) -> None:
        run("openssl", "genrsa", "-out", str(place.home / "sa.key"), "2048")
        (place.home / "tokens.csv").write_text(f"{place.secret},admin,admin,system:masters\n")
        server, authority = f"https://127.0.0.1:{place.ports['api']}", place.home / "certs/apiserver.crt"
        place_kubeconfig(place.home / "kubeconfig", server, authority, place.secret)
        shutil.copy(self.folder / "launcher.py", place.home)

    def command(self, place: Place) -> list[str]:
        given = {"programs": place.built / "bin", "token": place.secret, **place.ports}
        return [sys.executable, "-I", str(place.home / "launcher.py"), *(f"--{name}={value}" for name, value in given.items())]

    def address(self, place: Place) -> str:
        return str(place.home / "kubeconfig")

    def check(self, address: str) -> None:
        """A ConfigMap goes in and comes out, and the controllers have done their first work."""
        url, tls, headers = access(address)
        with httpx.Client(base_url=url, verify=tls, headers=headers, timeout=_CHECK_S, trust_env=False) as client:
            client.get("/readyz").raise_for_status()
            name = f"engines-check-{uuid.uuid4().hex[:8]}"
            path = "/api/v1/namespaces/default/configmaps"
            client.post(path, json={"metadata": {"name": name}, "data": {"are-you": "there"}}).raise_for_status()
            found = client.get(f"{path}/{name}").raise_for_status().json()
            client.delete(f"{path}/{name}").raise_for_status()
            if found["data"] != {"are-you": "there"}:
                raise EngineError("it gave back another ConfigMap")
            client.get("/api/v1/namespaces/default/configmaps/kube-root-ca.crt").raise_for_status()


def compile_go(source: str, folder: Path, target: Path, linked: str) -> None:
    """One program, from a copy of the folder with its go.mod, where the tool may write."""
    work = target.parent / f".{target.name}"
    shutil.copytree(folder, work)
    try:
        environment = ["env", "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOTOOLCHAIN=local"]
        run(*environment, "go", "build", "-trimpath", "-ldflags", linked, "-o", str(target), source, cwd=work)
    finally:
        shutil.rmtree(work)


def place_kubeconfig(file: Path, url: str, authority: Path, token: str) -> None:
    """How an administrator gets in."""
    cluster = {"server": url, "certificate-authority": str(authority)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
        "current-context": "tests",
    }
    file.write_text(yaml.safe_dump(config))


def access(kubeconfig: str) -> tuple[str, ssl.SSLContext, dict[str, str]]:
    """Address, TLS and headers of the API server that such a file names."""
    config = yaml.safe_load(Path(kubeconfig).read_text())
    cluster = config["clusters"][0]["cluster"]
    inline = cluster.get("certificate-authority-data")
    authority = {"cadata": base64.b64decode(inline).decode()} if inline else {"cafile": cluster["certificate-authority"]}
    tls = ssl.create_default_context(**authority)
    return cluster["server"], tls, {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
