"""How the sandbox of a container is described, and the arguments of Bubblewrap that follow from it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from dyff.cluster.pods import confinement, directory, environment, refusals, specs, starting
from dyff.cluster.pods import images as image_names
from dyff.cluster.pods.isolation import describing, machine
from dyff.cluster.pods.shim import bubblewrap
from dyff.kernel import images, settings

PLACE = environment.Place(Path("/data/pods/u/work"), Path("/data/pods/u/tmp"), Path("/data/pods/u/volumes"))
SH = settings.Image(command=("/bin/sh", "-c"), readiness_path=None)
FOLDERS = {"/home/pod": "/data/pods/u/work", "/tmp": "/data/pods/u/tmp", "/dev/shm": "/data/pods/u/shm"}

Tier = Literal["bubblewrap", "landlock", "none"]


def known(tier: Tier = "bubblewrap", **more: Any) -> describing.Sandboxes:
    return describing.Sandboxes(tier=tier, reason="", bwrap="/usr/bin/bwrap", hidden=("/data",), **more)


def confined(sandboxes: describing.Sandboxes, image: settings.Image = SH, uid: int | None = None, **container: Any) -> Any:
    made = specs.Container("main", "test/sh", **container)
    pod = specs.Pod(specs.Metadata("p", "u"), specs.Spec((made,)))
    return describing.confine(sandboxes, describing.Subject(pod, made, image, PLACE, 12000, uid))


def words(uid: int | None = None, **container: Any) -> list[str]:
    plain = msgspec.to_builtins(confined(known(), uid=uid, **container))
    at = bubblewrap.Descriptors(info=7, block=8, texts={"/etc/passwd": 9})
    return bubblewrap.arguments(plain, FOLDERS, "p", at)


def after(found: list[str], *wanted: str) -> bool:
    """Whether these words follow each other."""
    return any(found[at : at + len(wanted)] == list(wanted) for at in range(len(found)))


@pytest.mark.parametrize("namespace", ["pid", "net", "ipc", "uts", "cgroup-try"])
def test_every_namespace_is_new(namespace):
    """A sandbox shares nothing of these with the machine, no matter who runs the server."""
    assert f"--unshare-{namespace}" in words()
    assert f"--unshare-{namespace}" in words(uid=1_900_000_000)


def test_only_a_server_that_is_not_root_needs_a_namespace_of_users():
    """Root mounts without one, and its launcher keeps just what it needs to become another user."""
    assert "--unshare-user" in words()
    assert "--disable-userns" in words()
    assert after(words(), "--uid", "65534")
    assert "--cap-add" not in words()
    as_root = words(uid=1_900_000_000)
    assert "--unshare-user" not in as_root
    assert "--uid" not in as_root
    assert [as_root[at + 1] for at, word in enumerate(as_root) if word == "--cap-add"] == ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"]
    assert as_root.index("--cap-drop") < as_root.index("--cap-add")


def test_a_sandbox_ends_with_its_supervisor():
    """However the supervisor ends; and a terminal of the server is out of reach."""
    assert {"--die-with-parent", "--new-session"} <= set(words())


def test_only_the_pods_own_folders_can_be_written():
    """Everything else is bound read-only, and what Bubblewrap made itself in memory becomes read-only at the end."""
    mounts = (specs.Mount("a", "/a", read_only=True), specs.Mount("b", "/b"))
    found = words(volume_mounts=mounts)
    writable = [found[at + 1 : at + 3] for at, word in enumerate(found) if word == "--bind"]
    assert writable == [[source, path] for path, source in FOLDERS.items()] + [["/data/pods/u/volumes/b", "/b"]]
    assert after(found, "--ro-bind", "/data/pods/u/volumes/a", "/a")
    assert found[found.index("--remount-ro") :] == ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]
    assert "--dev-bind" not in found


def test_outer_mounts_come_first():
    """A mount in a mount is made after the outer one, which would hide it otherwise."""
    mounts = (specs.Mount("a", "/x/y/z"), specs.Mount("b", "/x"), specs.Mount("c", "/x/y"))
    assert [bind.target for bind in confined(known(), volume_mounts=mounts).volumes] == ["/x", "/x/y", "/x/y/z"]


def test_nothing_of_the_server_is_shown():
    """No folder that a sandbox shows is, contains, or is below one of the server's, and none is a whole home, /etc or /opt."""
    shown = [bind.source for bind in confined(known()).system]
    assert not [path for path in shown if machine.overlaps(path, ("/data",))]
    assert not {"/", "/etc", "/home", "/opt", "/root", "/var", "/tmp", "/run"} & set(shown)


@pytest.mark.parametrize("path", ["{}/data", "{}/data/objects", "/", "{}", "{}/data/../data/objects"])
def test_an_image_cannot_show_the_servers_data(tmp_path, path):
    """A path in the image's setting that would show the data directory is refused with a sentence that names both."""
    real = tmp_path / "data" / "objects"
    real.mkdir(parents=True)
    sandboxes = describing.Sandboxes(tier="bubblewrap", reason="", hidden=(str(tmp_path / "data"),))
    given = path.format(tmp_path)
    with pytest.raises(refusals.Refused, match="belongs to the server"):
        confined(sandboxes, settings.Image(command=("/bin/sh",), paths=(given,)))


def test_a_link_cannot_show_the_servers_data(tmp_path):
    """A path of an image's setting counts as what it leads to."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    sandboxes = describing.Sandboxes(tier="landlock", reason="", hidden=(str(tmp_path / "data"),))
    with pytest.raises(refusals.Refused, match="belongs to the server"):
        confined(sandboxes, settings.Image(command=("/bin/sh",), paths=(str(tmp_path / "link"),)))


def test_a_path_that_is_missing_is_named():
    """A path in the image's setting that this machine does not have is refused, not ignored."""
    with pytest.raises(refusals.Refused, match="'/no/such/path' of the image is missing"):
        confined(known(), settings.Image(command=("/bin/sh",), paths=("/no/such/path",)))


def test_a_virtual_environment_is_shown_with_its_installation(tmp_path):
    """A Python of a virtual environment works without any setting; of the folder around it, nothing is shown."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / "pyvenv.cfg").write_text("home = /opt/snake/bin\nversion = 3.11\n")
    found = [bind.source for bind in machine.of_program(str(venv / "bin" / ".." / "bin" / "python"))]
    assert found[:2] == [str(venv), "/opt/snake"]
    assert str(tmp_path) not in found


@pytest.mark.parametrize("program", ["/usr/bin/env", "/bin/sh", "sh"])
def test_a_program_of_the_system_needs_nothing_more(program):
    """What is below /usr is shown anyway."""
    assert machine.of_program(program) == []


def test_our_own_program_gets_its_code_only():
    """The mock service sees our package and the packages that it needs at fixed paths, and no variable changes what it imports."""
    image = settings.Image(command=(sys.executable, "-P", "-m", "dyff.workflows", "mock-service"))
    command = describing.program(known(), image).command
    assert command[1:4] == ("-I", "-S", "-c")
    assert command[5:] == ("/opt/dyff/code/dyff", "/opt/dyff/packages", "mock-service")
    targets = {bind.target: bind.source for bind in confined(known(), image).system}
    assert Path(targets["/opt/dyff/code/dyff"], "cluster", "doors.py").exists()


def test_limits_and_network_follow_the_settings():
    """The sandbox has the limits of the settings, a lower memory limit of the spec, and the outside only by its image's setting."""
    resources = specs.Resources({"memory": "64Mi"})
    found = confined(known(), settings.Image(command=("/bin/sh",), network="outside"), resources=resources)
    assert found.network == "outside"
    assert found.limits.memory_bytes == 64 * 2**20
    assert confined(known()).network == "none"
    assert confined(known(), settings.Image(command=("/bin/sh",), connect=("127.0.0.1:8081",))).connect == ["127.0.0.1:8081"]
    assert confined(known()).connect == []


STEP = specs.Container("fetch", images.STEPS)
CASES = {
    "a step that the operator made": (STEP, {image_names.STEPS_OF: "fetch"}, "trusted"),
    "a step of another name in that pod": (STEP, {image_names.STEPS_OF: "main"}, "refused"),
    "a step in a pod without the annotation": (STEP, {}, "refused"),
    "a program that is called like the steps": (
        specs.Container("fetch", "x/dyff/workflows/steps"),
        {image_names.STEPS_OF: "fetch"},
        "refused",
    ),
    "a program of the settings": (specs.Container("fetch", "test/sh"), {image_names.STEPS_OF: "fetch"}, "confined"),
    "the mock service": (specs.Container("fetch", image_names.MOCK_SERVICE), {image_names.STEPS_OF: "fetch"}, "confined"),
}


@pytest.mark.parametrize("name", CASES)
def test_only_our_own_steps_are_trusted(name, tmp_path):
    """The case's name is the container; everything that the operator did not make as a step is confined or refused."""
    container, annotations, want = CASES[name]
    pod = specs.Pod(specs.Metadata("p", "u", annotations=annotations), specs.Spec((specs.Container("main", "test/sh"),), (container,)))
    config = starting.NodeConfig("", sys.executable, settings.Pods(images={"test/sh": SH}), known())
    place = directory.Directory(tmp_path, "u")
    if want == "refused":
        with pytest.raises(refusals.Refused):
            starting.intent(config, pod, place, directory.Facts(), None, datetime.now(UTC))
        return
    first, main = starting.intent(config, pod, place, directory.Facts(), None, datetime.now(UTC)).containers
    assert (first.confinement is None, first.step is not None) == ((True, True) if want == "trusted" else (False, False))
    assert main.confinement is not None


@pytest.mark.parametrize("path", ["/home/me/python", "/home/me/python/lib"])
def test_nothing_is_mounted_over_what_the_launcher_loads(monkeypatch, path):
    """The launcher still has rights of root: an interpreter outside the usual folders cannot be replaced by a volume."""
    monkeypatch.setattr(machine, "interpreter", lambda: [confinement.Bind("/home/me/python", "/home/me/python")])
    with pytest.raises(refusals.Refused, match="would hide /home/me/python"):
        confined(known(), volume_mounts=(specs.Mount("v", path),))


def test_what_is_needed_below_a_volume_is_mounted_after_it(monkeypatch):
    """A volume above the interpreter, such as one at `/tmp`, does not replace it: it is mounted on top."""
    monkeypatch.setattr(machine, "interpreter", lambda: [confinement.Bind("/home/me/python", "/home/me/python")])
    found = words(volume_mounts=(specs.Mount("v", "/home/me"),))
    volume = next(at for at in range(len(found)) if found[at] in ("--bind", "--ro-bind") and found[at + 2] == "/home/me")
    assert [at > volume for at in range(len(found)) if found[at : at + 3] == ["--ro-bind", "/home/me/python", "/home/me/python"]] == [True]
