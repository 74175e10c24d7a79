"""Landlock's rules, in a child process that loses its rights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dyff.cluster.pods.shim import landlock

CHECKOUT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(landlock.abi() < landlock.ABI_SCOPE, reason="this kernel's Landlock is too old")
CHILD = """
import ctypes, json, os, socket, sys
sys.path.append(sys.argv[1])
from dyff.cluster.pods.shim import landlock
rules, attempts = json.loads(sys.argv[2])
ruleset = landlock.prepare(rules)
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
landlock.enter(ruleset)
def bind(port):
    with socket.socket() as each: each.bind(("127.0.0.1", port))
def connect(port):
    with socket.socket() as each: each.connect(("127.0.0.1", port))
def read(path):
    with open(path) as file: file.read()
def write(path):
    with open(path, "a") as file: file.write("x")
calls = {"read": read, "list": os.listdir, "write": write, "mkdir": os.mkdir, "remove": os.unlink, "bind": bind, "connect": connect,
         "mkfifo": os.mkfifo, "truncate": lambda path: os.truncate(path, 0)}
answers = []
for name, argument in attempts:
    try:
        calls[name](argument)
        answers.append("done")
    except OSError as error:
        answers.append(error.errno)
print(json.dumps(answers))
"""


def tried(rules: dict[str, object], *attempts: tuple[str, object]) -> list[object]:
    """What a process with these rules can do: "done", or the number of the error."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", CHILD, str(CHECKOUT), json.dumps([rules, attempts])], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers: list[object] = json.loads(done.stdout)
    return answers


def test_only_what_is_listed_can_be_read(tmp_path):
    """A listed folder can be read and listed, and not written; everything else cannot be opened."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("x")
    (tmp_path / "out").write_text("x")
    inside = str(tmp_path / "in")
    attempts = [
        ("read", f"{inside}/file"),
        ("list", inside),
        ("write", f"{inside}/file"),
        ("mkdir", f"{inside}/new"),
        ("truncate", f"{inside}/file"),
    ]
    assert tried({"read": [inside]}, *attempts, ("read", str(tmp_path / "out")), ("list", "/")) == ["done", "done", 13, 13, 13, 13, 13]


def test_a_writable_folder_has_everything_but_sockets_and_devices(tmp_path):
    """Files, folders and pipes can be made and removed in a writable folder."""
    inside = str(tmp_path)
    attempts = [("write", f"{inside}/file"), ("read", f"{inside}/file"), ("mkdir", f"{inside}/folder"), ("mkfifo", f"{inside}/pipe")]
    assert tried({"write": [inside]}, *attempts, ("remove", f"{inside}/file")) == ["done"] * 5


def test_a_single_file_can_be_listed(tmp_path):
    """A rule can name a file; its folder stays closed."""
    (tmp_path / "file").write_text("x")
    assert tried({"system": [str(tmp_path / "file"), "/no/such/file"]}, ("read", str(tmp_path / "file")), ("list", str(tmp_path))) == [
        "done",
        13,
    ]


def test_ports_are_closed_unless_listed():
    """Only listed ports can be bound or connected to, each only for what it is listed for."""
    assert tried({"bind": [4711]}, ("bind", 4711), ("bind", 4712), ("bind", 0), ("connect", 4711)) == ["done", 13, 13, 13]
    assert tried({"connect": [4711]}, ("connect", 4711), ("connect", 4712), ("bind", 4711)) == [111, 13, 13]


def test_devices_can_be_used_both_ways():
    """/dev/null can be read and written, and nothing else of /dev."""
    assert tried({"devices": ["/dev/null"]}, ("read", "/dev/null"), ("write", "/dev/null"), ("read", "/dev/zero")) == ["done", "done", 13]


@pytest.mark.parametrize("key", ["read", "write"])
@pytest.mark.parametrize("link", ["in/link", "link/folder"])
def test_a_path_with_a_link_is_refused(tmp_path, key, link):
    """A program can have put a link into the path of a volume, which would open what the link leads to."""
    (tmp_path / "in").mkdir()
    (tmp_path / "secret" / "folder").mkdir(parents=True)
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match=f"landlock: .*{link} cannot be opened: a symbolic link is in its path"):
        landlock.prepare({key: [str(tmp_path / link)]})


def test_wrong_rules_are_refused(tmp_path):
    """A path that is missing and a port that does not exist are errors that name them."""
    with pytest.raises(OSError, match=r"landlock: .*absent cannot be opened: No such file or directory"):
        landlock.prepare({"write": [str(tmp_path / "absent")]})
    with pytest.raises(ValueError, match="landlock: bind: 70000 is not a port"):
        landlock.prepare({"bind": [70000]})


@pytest.mark.parametrize(("version", "words"), [(0, "offers no Landlock"), (3, "offers version 3 of Landlock")])
def test_an_old_kernel_is_refused(monkeypatch, version, words):
    """What the kernel does not offer is said in one sentence, with what is needed."""
    monkeypatch.setattr(landlock, "abi", lambda: version)
    with pytest.raises(landlock.Unsupported, match=rf"the kernel {words}, and version 6 is needed \(Linux 6.12, "):
        landlock.prepare({})


def test_no_descriptor_is_left(tmp_path):
    """Neither rules that are refused nor paths that were opened leave descriptors open."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="absent"):
        landlock.prepare({"system": ["/usr"], "write": [str(tmp_path), str(tmp_path / "absent")]})
    os.close(landlock.prepare({"system": landlock.SYSTEM, "devices": landlock.DEVICES}))
    assert len(os.listdir("/proc/self/fd")) == before
