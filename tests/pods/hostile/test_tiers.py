"""Hostile programs against a supervisor, in each tier, as root and as a regular user."""

from __future__ import annotations

import os
import signal

import msgspec
import pytest

from dyff.cluster.pods import directory, stopping
from dyff.cluster.pods.isolation import targets
from dyff.cluster.pods.shim import ending, files, processes, rlimits
from tests.engines.ports import free_port

STAY = """
import ctypes, os, signal, sys, time
def forked():
    try:
        return os.fork() == 0
    except OSError:
        return False
def stay():
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    time.sleep(600)
libc = ctypes.CDLL(None)
libc.prctl(36, 1, 0, 0, 0)       # adopt orphans, so that they do not go to the supervisor
libc.prctl(1, 0, 0, 0, 0)        # do not end with the parent
libc.prctl(4, 0, 0, 0, 0)        # hide from processes of the same user
if forked():                     # twice forked, in a session of its own if that is allowed
    try:
        os.setsid()
    except OSError:
        pass
    if forked():
        os.chdir('/')
        os.execve('/bin/sleep', ['sleep', '600'], {})
    stay()
if forked():                     # stopped
    os.kill(os.getpid(), signal.SIGSTOP)
    stay()
if forked():                     # born next to its parent instead of below it
    try:
        libc.syscall(56, 0x8000 | 17, 0, 0, 0, 0)
    except OSError:
        pass
    stay()
time.sleep(0.2)
open('ready', 'w').write('yes\\n')
"""
BOMB = """
import os
open('ready', 'w').write('yes\\n')
while True:
    try:
        os.fork()
    except OSError:
        pass
"""


def test_no_attack_succeeds(bench):
    """Nothing of the server, its supervisor, another pod, the machine or the network is reached by any of the attacks."""
    with targets.placed(outside=("1.1.1.1",)) as placed:
        bench.start(targets.BOOT, bench.modules, *placed.arguments(), port=8000)
        assert bench.outcome()["exitCode"] == 0, bench.log()
        assert placed.reached(bench.log()) == {}


def test_no_attack_succeeds_without_a_port(bench):
    """A program that does not listen has no more ways than one that does."""
    with targets.placed(outside=("1.1.1.1",)) as placed:
        bench.start(targets.BOOT, bench.modules, *placed.arguments())
        assert bench.outcome()["exitCode"] == 0, bench.log()
        assert placed.reached(bench.log()) == {}


@pytest.mark.parametrize("program", [STAY, STAY + "stay()", BOMB], ids=["leaves", "stays", "bomb"])
def test_everything_ends_with_the_pod(bench, program):
    """Whatever was forked, in whatever session and however it ignores signals, nothing is left after the end or a request to stop."""
    bench.start(program)
    bench.written("ready")
    if program != STAY:
        assert bench.alive() != []
        os.kill(bench.shim(), signal.SIGTERM)
    bench.outcome()
    assert bench.alive() == []
    assert not any(os.path.exists(path) for path in bench.record()["groups"])


@pytest.mark.parametrize("program", [STAY + "stay()", BOMB], ids=["stays", "bomb"])
def test_everything_ends_with_its_supervisor(bench, program):
    """If the supervisor is killed, all processes of the pod end, although no server is there that would end them."""
    bench.start(program)
    bench.written("ready")
    os.kill(bench.shim(), signal.SIGKILL)
    bench.until(lambda: not bench.alive(), "processes of the pod are left")


@pytest.mark.parametrize("program", [STAY + "stay()", BOMB], ids=["stays", "bomb"])
def test_the_server_ends_what_a_supervisor_has_left(bench, program):
    """If supervisor and guard are both killed, the next start of the server finds all processes and ends them."""
    bench.start(program)
    bench.written("ready")
    record = bench.record()
    guards = [pid for pid in processes.children(bench.shim()) if pid != record["containers"]["main"]["pid"]]
    for pid in (*guards, bench.shim()):
        os.kill(pid, signal.SIGKILL)
    intent = directory.Intent(0, "p", "", [], "", 1.0, 1, 1.0, uid=bench.pod_user, mark=bench.place.mark)
    bench.until(lambda: files.is_free(bench.place.lock), "the lock of a supervisor that was killed is held")
    with files.taken(bench.place.lock) as free:
        assert free
        stopping.kill_orphans(bench.place, msgspec.convert(record, directory.Record), intent)
    assert bench.alive() == []
    assert not any(os.path.exists(path) for path in record["groups"])


def test_marks_cannot_be_removed(bench):
    """A program cannot change the limit by which its processes are recognized."""
    program = """
import ctypes, resource
libc = ctypes.CDLL(None, use_errno=True)
pair = (ctypes.c_uint64 * 2)(5, 5)
print(libc.setrlimit(15, pair), libc.prlimit(0, 15, pair, None), libc.syscall(302, 0, 15, pair, None))
"""
    bench.start(program)
    assert bench.outcome()["exitCode"] == 0, bench.said()
    assert bench.log() == "-1 -1 -1"


def test_users_that_are_not_a_pods_cannot_be_killed():
    """Killing all processes of a user works only for users of pods: never for root, and never for our own."""
    for uid in (0, -1, os.getuid()):
        with pytest.raises(ValueError, match="is not a user of a pod"):
            ending.kill_user(uid)


def test_marks_are_different():
    """Each pod has its own mark, which stays the same for all its runs."""
    marks = {directory._mark(f"pod-{number}") for number in range(1000)}
    assert len(marks) == 1000
    assert directory._mark("pod-1") in marks
    assert all(rlimits.MARK_FROM <= mark < 2 * rlimits.MARK_FROM for mark in marks)


LISTEN = """
import socket, sys, time
listeners = []
for family, address in {where!r}:
    each = socket.socket(family, socket.SOCK_STREAM)
    if address is not None:
        each.bind((address, {port}))
    each.listen()
    listeners.append(each)
open('ready', 'w').write('yes\\n')
time.sleep(1.5 if sys.argv[1:] else 600)
"""
V4, V6 = 2, 10


@pytest.mark.parametrize("where", [[(V4, "0.0.0.0")], [(V6, "::")], [(V4, None)], [(V4, "127.0.0.1"), (V6, None)]])
def test_others_cannot_reach_a_listener(bench, where):
    """Without a network of its own, a program that listens where others could reach it is ended, and the reason is recorded."""
    port = free_port()
    bench.start(LISTEN.format(where=where, port=port), *(["short"] if bench.tier == "bubblewrap" else []), port=port)
    ended = bench.outcome()
    if bench.tier == "bubblewrap":
        assert ended["exitCode"] == 0, bench.log()
        return
    assert (ended["reason"], ended["exitCode"]) == ("Evicted", 137), bench.log()
    assert f"it may listen only at 127.0.0.1, port {port}" in ended["message"]


@pytest.mark.parametrize("where", [[(V4, "127.0.0.1")], [(V6, "::1")], [(V6, "::ffff:127.0.0.1")]])
def test_a_program_listens_at_its_port(bench, where):
    """A program listens at its own port, at an address that only this machine reaches, in every tier."""
    port = free_port()
    bench.start(LISTEN.format(where=where, port=port), "short", port=port)
    assert bench.outcome()["exitCode"] == 0, bench.log()
