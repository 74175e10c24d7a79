"""Control groups of containers: what is made on which kind of machine. The kernel's folders are imitated, except in the last tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dyff.cluster.pods.shim import cgroups

V2_FILES = ("cgroup.procs", "cgroup.kill", "cgroup.events")
CONTROLLED = ("memory.max", "memory.swap.max", "memory.oom.group", "memory.events", "pids.max")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Imitates a machine: in each hierarchy, our group, and in which groups new ones get which files."""

    def build(places, mounts, files):
        monkeypatch.setattr(cgroups, "_places", lambda: places)
        monkeypatch.setattr(cgroups, "_mounts", lambda: {name: str(tmp_path / path) for name, path in mounts.items()})

        def made(path: str) -> bool:
            above = str(Path(path).parent.relative_to(tmp_path))
            if above not in files:
                return False
            Path(path).mkdir(parents=True)
            for name in files[above]:
                Path(path, name).touch()
            return True

        monkeypatch.setattr(cgroups, "_made", made)
        monkeypatch.setattr(cgroups, "remove", lambda paths: [subprocess.run(["rm", "-r", path], check=True) for path in paths])
        return tmp_path

    return build


def read(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.iterdir() if file.read_text()}


def test_version_2_next_to_our_own_group(machine):
    """Where a user has its own part of the tree, the group is made next to ours, since ours has processes and so no controllers inside."""
    root = machine([({""}, "/user/app/dyff")], {"": "v2"}, {"v2/user/app/dyff": V2_FILES, "v2/user/app": V2_FILES + CONTROLLED})
    group = cgroups.Group.make("dyff-1", 10**9, 50)
    assert group.paths == [str(root / "v2/user/app/dyff-1")]
    assert (group.memory, group.processes) == (True, True)
    assert read(root / "v2/user/app/dyff-1") == {
        "memory.max": "1000000000",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "50",
    }
    assert not (root / "v2/user/app/dyff/dyff-1").exists()


def test_version_2_without_controllers(machine):
    """A group that bounds nothing is still made, because all its processes can be killed at once."""
    root = machine([({""}, "/user/dyff")], {"": "v2"}, {"v2/user/dyff": V2_FILES})
    group = cgroups.Group.make("dyff-1", 10**9, 50)
    assert (group.paths, group.memory, group.processes) == ([str(root / "v2/user/dyff/dyff-1")], False, False)
    group.kill()
    assert (root / "v2/user/dyff/dyff-1/cgroup.kill").read_text() == "1"


def test_version_1(machine):
    """In version 1 each controller has its own tree, in which our own group is another one."""
    places = [({"memory"}, "/a/b"), ({"pids", "cpu"}, "/"), ({"freezer"}, "/"), ({"name=systemd"}, "/")]
    mounts = {"memory": "m", "pids": "p", "cpu": "p", "freezer": "f", "name=systemd": "s"}
    root = machine(
        places, mounts, {"m/a/b": ("cgroup.procs", "memory.limit_in_bytes"), "p": ("cgroup.procs", "pids.max"), "f": (), "s": ()}
    )
    group = cgroups.Group.make("dyff-1", 10**9, 50)
    assert group.paths == [str(root / "m/a/b/dyff-1"), str(root / "p/dyff-1")]
    assert read(root / "m/a/b/dyff-1") == {"memory.limit_in_bytes": "1000000000"}
    assert read(root / "p/dyff-1") == {"pids.max": "50"}


def test_nothing_is_allowed(machine):
    """Without any right there is no group, and the supervisor measures."""
    machine([({""}, "/"), ({"memory"}, "/")], {"": "v2", "memory": "m"}, {})
    group = cgroups.Group.make("dyff-1", 10**9, 50)
    assert (group.paths, group.memory, group.processes, group.pids()) == ([], False, False, None)


def test_a_group_that_cannot_be_joined_is_given_up(machine):
    """If processes cannot be moved, the limits of the group count for nothing, so the supervisor measures."""
    root = machine([({""}, "/dyff")], {"": "v2"}, {"v2": CONTROLLED})
    group = cgroups.Group.make("dyff-1", 10**9, 50)
    assert group.memory
    group.add(os.getpid())
    assert (group.paths, group.memory, group.processes) == ([], False, False)
    assert not (root / "v2/dyff-1").exists()


@pytest.mark.parametrize(
    ("name", "text", "killed"),
    [
        ("memory.events", "low 0\noom 0\noom_kill 0\n", False),
        ("memory.events", "low 0\noom 3\noom_kill 1\noom_group_kill 1\n", True),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", True),
    ],
)
def test_the_kernels_count_decides(tmp_path, name, text, killed):
    """Whether the kernel has killed a process for its memory is read from the group, in both versions."""
    (tmp_path / name).write_text(text)
    group = cgroups.Group()
    group.paths = [str(tmp_path)]
    assert group.out_of_memory() is killed


def test_real_groups_are_made_and_removed():
    """On this machine, what can be made can be joined, and nothing of it is left afterwards."""
    group = cgroups.Group.make(f"dyff-test-{os.getpid()}", 1 << 30, 50)
    paths = list(group.paths)
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        group.add(child.pid)
        if group.paths:
            assert group.pids() == [child.pid]
        child.kill()
    group.remove()
    assert not any(os.path.exists(path) for path in paths)
