"""Start a real Kubernetes node with its control plane, and keep its programs running until this one is killed.

    launcher.py HOME BUILT KUBERNETES NUMBER      run it in the folder HOME, from what two recipes built
    launcher.py --clean NUMBER                    remove what a node with that number left on this machine

All of it lives in a network namespace of its own, and in mount and pid namespaces below that, with cgroups of its own: routes, firewall,
kernel settings and cgroups of the machine stay as they are. One veth pair leads there. It needs root and the standard library only.
Output of each program: HOME/NAME.log; its pid: HOME/NAME.pid. Started again in the same folder it is the same node, with its data.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

NODE = "dyff-node"
SERVICES = "10.96.0.0/16"
DNS = "10.96.0.10"
_LINKS, _PODS = ipaddress.ip_address("10.77.0.0"), ipaddress.ip_address("10.78.0.0")
"""Where the networks of the first node begin: four addresses for its link, 128 for its pods."""
_ASK_DNS = r"""
import socket, sys
name = b"".join(bytes([len(each)]) + each.encode() for each in "kubernetes.default.svc.cluster.local".split("."))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(2)
    asking.sendto(b"dy\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name + b"\x00\x00\x01\x00\x01", (sys.argv[1], 53))
    answer = asking.recv(512)
sys.exit(answer[3] & 15 or not answer[7])  # an error, or no address
"""
_USERS = {"admin": ("admin", "system:masters"), "node": (f"system:node:{NODE}", "system:nodes"), "proxy": ("system:kube-proxy", "")}
_CGROUPS = Path("/sys/fs/cgroup")
_DEADLINE_S = 60.0
_RESTARTED = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
_NOT_HERE = ("node-ipam", "node-route", "service-lb", "cloud-node-lifecycle")


class Machine:
    """What a node is on this machine, by its number."""

    def __init__(self, number: int) -> None:
        self.space, self.link = f"dyff{number}", f"dyff{number}"
        link = _LINKS + 4 * number
        self.host, self.node, self.pods = str(link + 1), str(link + 2), f"{_PODS + 128 * number}/25"
        self.cgroup = f"dyff{number}"

    def make(self) -> None:
        """The network and the cgroups."""
        _run("ip", "netns", "add", self.space)
        _run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        _run("ip", "addr", "add", f"{self.host}/30", "dev", self.link)
        _run("ip", "link", "set", self.link, "up")
        _run("ip", "-n", self.space, "addr", "add", f"{self.node}/30", "dev", "eth0")
        _run("ip", "-n", self.space, "link", "set", "eth0", "up")
        _run("ip", "-n", self.space, "link", "set", "lo", "up")
        _run("ip", "-n", self.space, "route", "add", "default", "via", self.host)
        _run("ip", "route", "add", self.pods, "via", self.node, "dev", self.link)  # so that pods get answers from servers here
        for folder in self._folders():
            folder.mkdir(exist_ok=True)
            if folder.parent.name == "cpuset":
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (folder / name).write_text((folder.parent / name).read_text())

    def clean(self) -> None:
        """Remove all of it, whatever is there; its processes must be gone."""
        for pid in _quiet("ip", "netns", "pids", self.space).split():
            with contextlib.suppress(ProcessLookupError):  # it was ending already
                os.kill(int(pid), signal.SIGKILL)
        _until(lambda: not _quiet("ip", "netns", "pids", self.space), 10, "processes of the node do not end")
        _quiet("ip", "link", "del", self.link)
        _quiet("ip", "netns", "del", self.space)
        _until(self._removed, 20, f"cgroups {self.cgroup} are still in use")

    def _removed(self) -> bool:
        for folder in self._folders():
            for each in sorted(folder.rglob("*"), reverse=True) if folder.exists() else ():
                if each.is_dir():
                    _ignore(each.rmdir)
            _ignore(folder.rmdir)
        return not any(folder.exists() for folder in self._folders())

    def _folders(self) -> list[Path]:
        """One in each hierarchy, or one in all."""
        if (_CGROUPS / "cgroup.controllers").exists():
            return [_CGROUPS / self.cgroup]
        return [each / self.cgroup for each in sorted(_CGROUPS.iterdir()) if each.is_dir() and not each.is_symlink()]


class Node:
    """A node that is being started."""

    def __init__(self, home: Path, built: Path, kubernetes: Path, machine: Machine) -> None:
        self.home, self.built, self.machine = home, built, machine
        package = built / "packages/usr"
        self.path = f"{kubernetes}/bin:{package}/sbin:{package}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.plugins = package / "lib/cni"
        libraries = [built / "packages" / each for each in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")]
        self.environment = {**os.environ, "PATH": self.path, "LD_LIBRARY_PATH": ":".join(map(str, libraries))}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        self.tokens = {name: secrets.token_hex(16) for name in _USERS}
        self.api = f"https://{machine.node}:6443"

    def start(self) -> None:
        """Everything, in the order in which it is needed."""
        self._configure()
        self._begin()
        self._inside("containerd", f"--config={self.home}/containerd.toml")
        _until(lambda: self._says("ctr", "version"), _DEADLINE_S, "containerd does not answer", self.check)
        for image in sorted((self.built / "images").glob("*.tar")):
            self._do("ctr", "-n", "k8s.io", "images", "import", str(image))
        self._control_plane()
        self._inside("kubelet", *self._kubelet())
        self._inside("kube-proxy", f"--config={self.home}/proxy.yaml")
        _until(self._is_ready, _DEADLINE_S, "the node is not Ready", self.check)
        self._kubectl("apply", "-f", str(self.built / "coredns.yaml"))
        _until(self._dns_answers, _DEADLINE_S, "there is no DNS", self.check)
        reported, unfinished = {"init": self.init, "host": self.machine.host}, self.home / "node.json.new"
        unfinished.write_text(json.dumps(reported))
        unfinished.rename(self.home / "node.json")

    def keep(self) -> None:
        """Start again what ended, as those do who run a cluster; without its namespaces or containerd there is no node."""
        for name in _RESTARTED:
            if self.running[name].poll() is not None:
                self._open(name, self._commands[name])
        self.check()

    def check(self) -> None:
        """Raises with the last words of what ended."""
        for name, each in self.running.items():
            if each.poll() is not None:
                words = (self.home / f"{name}.log").read_bytes()[-2000:].decode(errors="replace")
                raise SystemExit(f"{name} ended with {each.returncode}; the end of {self.home}/{name}.log:\n{words}")

    def _begin(self) -> None:
        """The namespaces, which end with this process."""
        (self.home / "ready").unlink(missing_ok=True)
        unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = ["nsenter", f"--net=/run/netns/{self.machine.space}", "--", *unshare, "bash", str(self.built / "init.sh"), str(self.home)]
        self._open("init", command)
        _until((self.home / "ready").exists, _DEADLINE_S, "the namespaces are not ready", self.check)
        children = f"/proc/{self.running['init'].pid}/task/{self.running['init'].pid}/children"
        self.init = int(Path(children).read_text().split()[0])

    def _control_plane(self) -> None:
        home, local, peers = self.home, "http://127.0.0.1:2379", "http://127.0.0.1:2380"
        etcd = [f"--listen-client-urls={local}", f"--advertise-client-urls={local}", f"--listen-peer-urls={peers}"]
        etcd += [f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=default={peers}", "--unsafe-no-fsync"]
        self._inside("etcd", f"--data-dir={home}/data/etcd", *etcd)
        self._inside(
            "kube-apiserver",
            f"--etcd-servers={local}",
            "--bind-address=0.0.0.0",
            f"--advertise-address={self.machine.node}",
            "--secure-port=6443",
            f"--cert-dir={home}/pki",
            f"--token-auth-file={home}/tokens.csv",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-cluster-ip-range={SERVICES}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={home}/pki/sa.key",
            f"--service-account-key-file={home}/pki/sa.key",
            f"--kubelet-client-certificate={home}/pki/client.crt",
            f"--kubelet-client-key={home}/pki/client.key",
            "--kubelet-preferred-address-types=InternalIP",
            "--allow-privileged=true",
        )
        _until(self._api_is_ready, _DEADLINE_S, "the API server is not ready", self.check)
        for name in self.tokens:
            self._kubeconfig(name)
        common = [f"--kubeconfig={home}/admin.kubeconfig", "--bind-address=127.0.0.1", "--leader-elect=false"]
        controllers = ",".join(["*", *(f"-{each}-controller" for each in _NOT_HERE)])
        self._inside(
            "kube-controller-manager",
            *common,
            f"--service-account-private-key-file={home}/pki/sa.key",
            f"--root-ca-file={home}/pki/apiserver.crt",
            f"--cert-dir={home}/pki/manager",
            f"--controllers={controllers}",
            "--node-monitor-grace-period=20s",
        )
        self._inside("kube-scheduler", *common, f"--cert-dir={home}/pki/scheduler")

    def _kubelet(self) -> list[str]:
        named = [f"--hostname-override={NODE}", f"--node-ip={self.machine.node}", f"--cert-dir={self.home}/pki/kubelet"]
        return [f"--config={self.home}/kubelet.yaml", f"--kubeconfig={self.home}/node.kubeconfig", "--root-dir=/var/lib/kubelet", *named]

    def _configure(self) -> None:
        """Files: keys, tokens, and what each program reads; none if they are there from an earlier start."""
        pki, tokens = self.home / "pki", self.home / "tokens.csv"
        if tokens.exists():
            self.tokens = {line.split(",")[2]: line.split(",")[0] for line in tokens.read_text().splitlines()}
            return
        for folder in (pki, self.home / "data"):
            folder.mkdir(exist_ok=True)
        for name, text in _files(self.home, self.built, self.plugins, self.machine).items():
            file = self.home / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        key = ("openssl", "req", "-newkey", "rsa:2048", "-nodes")
        _run("openssl", "genrsa", "-out", f"{pki}/sa.key", "2048")
        _run(*key, "-x509", "-days", "30", "-subj", "/CN=kubelet-clients", "-keyout", f"{pki}/ca.key", "-out", f"{pki}/ca.crt")
        _run(*key, "-subj", "/O=system:masters/CN=kube-apiserver", "-keyout", f"{pki}/client.key", "-out", f"{pki}/client.csr")
        (pki / "client.conf").write_text("extendedKeyUsage=clientAuth\n")
        signed = ("-CA", f"{pki}/ca.crt", "-CAkey", f"{pki}/ca.key", "-CAcreateserial", "-days", "30", "-extfile", f"{pki}/client.conf")
        _run("openssl", "x509", "-req", "-in", f"{pki}/client.csr", *signed, "-out", f"{pki}/client.crt")
        lines = [f"{self.tokens[name]},{user},{name},{group}\n" for name, (user, group) in _USERS.items()]
        unfinished = self.home / "tokens.csv.new"
        unfinished.write_text("".join(lines))
        unfinished.rename(tokens)

    def _kubeconfig(self, name: str) -> None:
        authority = base64.b64encode((self.home / "pki/apiserver.crt").read_bytes()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "node", "cluster": {"server": self.api, "certificate-authority-data": authority}}],
            "users": [{"name": name, "user": {"token": self.tokens[name]}}],
            "contexts": [{"name": "node", "context": {"cluster": "node", "user": name}}],
            "current-context": "node",
        }
        (self.home / f"{name}.kubeconfig").write_text(json.dumps(config))

    def _api_is_ready(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.home / "pki/apiserver.crt"))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        request = urllib.request.Request(f"{self.api}/readyz", headers={"Authorization": f"Bearer {self.tokens['admin']}"})
        with opener.open(request, timeout=5) as answer:
            return bool(answer.status == 200)

    def _is_ready(self) -> bool:
        found = json.loads(self._kubectl("get", "node", NODE, "-o", "json"))
        self._kubectl("get", "serviceaccount", "default")
        return any(each["type"] == "Ready" and each["status"] == "True" for each in found["status"]["conditions"])

    def _dns_answers(self) -> bool:
        """Through its Service, as a pod asks: so the node runs pods, and kube-proxy has done its first work."""
        asking = ["nsenter", f"--net=/run/netns/{self.machine.space}", "--", sys.executable, "-I", "-c", _ASK_DNS, DNS]
        return subprocess.run(asking, check=False, capture_output=True, timeout=30).returncode == 0

    def _kubectl(self, *arguments: str) -> str:
        command = ["kubectl", f"--kubeconfig={self.home}/admin.kubeconfig", *arguments]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True, timeout=30).stdout

    def _enter(self, *command: str) -> list[str]:
        return ["nsenter", f"--target={self.init}", "--mount", "--pid", "--net", "--", *command]

    def _inside(self, name: str, *arguments: str) -> None:
        """Start a program in the node."""
        self._open(name, self._enter(str(shutil.which(name, path=self.path)), *arguments))

    def _do(self, *command: str) -> None:
        subprocess.run(self._enter(*command), env=self.environment, check=True, capture_output=True, timeout=120)

    def _says(self, *command: str) -> bool:
        return subprocess.run(self._enter(*command), env=self.environment, check=False, capture_output=True, timeout=30).returncode == 0

    def _open(self, name: str, command: list[str]) -> None:
        with open(self.home / f"{name}.log", "ab") as log:
            started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
        self.running[name], self._commands[name] = started, command
        (self.home / f"{name}.pid").write_text(str(started.pid))


def _files(home: Path, built: Path, plugins: Path, machine: Machine) -> dict[str, str]:
    """Configuration files by name, from those next to the recipe."""
    values = {
        "home": home,
        "plugins": plugins,
        "pods": machine.pods,
        "node": NODE,
        "cgroup": machine.cgroup,
        "dns": DNS,
        "files": os.sysconf("SC_OPEN_MAX"),
    }
    found = {"resolv.conf": ""}
    for each in sorted((built / "configuration").iterdir()):
        text = each.read_text()
        for name, value in values.items():
            text = text.replace(f"<{name}>", str(value))
        found[f"cni/{each.name}" if each.suffix == ".conflist" else each.name] = text
    return found


def _until(true: Callable[[], bool], limit_s: float, otherwise: str, check: Callable[[], None] = lambda: None) -> None:
    end, reason = time.monotonic() + limit_s, ""
    while True:
        try:
            if true():
                return
        except (OSError, subprocess.SubprocessError, KeyError, ValueError) as error:
            reason = f" ({error})"
        check()
        if time.monotonic() > end:
            raise SystemExit(f"{otherwise}{reason}")
        # real time: between two looks at what a process or the kernel does
        time.sleep(0.1)


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")


def _quiet(*command: str) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60).stdout


def _ignore(act: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        act()


def main() -> int:
    """Run until killed."""
    if sys.argv[1] == "--clean":
        Machine(int(sys.argv[2])).clean()
        return 0
    home, built, kubernetes = map(Path, sys.argv[1:4])
    machine = Machine(int(sys.argv[4]))
    machine.clean()
    machine.make()
    node = Node(home, built, kubernetes, machine)
    node.start()
    while True:
        node.keep()
        # real time: it looks after a node of processes by its own clock
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
