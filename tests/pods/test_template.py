"""The template: a step that it forks cannot be distinguished from one that is executed, and nothing depends on its life."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from dyff.cluster.pods import directory, environment, starting, stopping, templates
from dyff.cluster.pods.isolation import describing
from dyff.cluster.pods.shim import files, processes
from dyff.kernel import settings
from tests import waiting
from tests.narrowing import sure

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0


def until(condition, what="it"):
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        waiting.a_blocking_moment()
    return value


class Bench:
    """Pods below one directory, whose steps are those of `a_step`, and a template."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.python = str(root / "python")
        Path(self.python).write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n')
        os.chmod(self.python, 0o755)
        self.config = starting.NodeConfig(str(root / "server.lock"), sys.executable, settings.Pods(), describing.UNCONFINED)
        self.lock = files.take(self.config.server_lock)
        self.template = templates.Template(self.python, root / "template.log", "tests.pods.a_step")

    def promise(self, uid: str, action: str, **more) -> directory.Directory:
        """A pod that is promised and not started."""
        place = directory.Directory(self.root / "pods", uid)
        env = {"PATH": environment.PATH, "HOME": str(place.place.work), "TMPDIR": str(place.place.tmp), "LANG": "C.UTF-8"}
        process = environment.Process(
            name="step",
            argv=[self.python, "-P", "-m", "tests.pods.a_step", action],
            env=env | more.pop("env", {}),
            cwd=str(more.pop("cwd", place.place.work)),
            memory_bytes=more.pop("memory_bytes", None),
            hint="no hint",
            step=[action],
        )
        place.prepare()
        place.commit(directory.Intent(0, uid, "2026-01-01T00:00:00Z", [process], self.config.server_lock, 600.0, 2**20, 2.0, **more))
        return place

    def start(self, uid: str, action: str, *, forked: bool, **more) -> directory.Directory:
        place = self.promise(uid, action, **more)
        starting.spawn(self.config, place, 0, self.template if forked else None)
        return place

    def run(self, uid: str, action: str, *, forked: bool, **more) -> tuple[directory.Outcome, list[str]]:
        """How it ended, and its lines."""
        place = self.start(uid, action, forked=forked, **more)
        until(lambda: not place.facts().held, "the end")
        return sure(place.facts().record).containers["step"], lines(place)


def lines(place: directory.Directory) -> list[str]:
    path = place.path / "step.log"
    return [line.partition(" ")[2] for line in path.read_text().splitlines()] if path.exists() else []


def outcome(place: directory.Directory) -> directory.Outcome:
    return sure(place.facts().record).containers["step"]


def was_forked(place: directory.Directory) -> bool:
    """Whether the pod's shim comes from a template."""
    return Path(f"/proc/{sure(place.facts().record).shim.pid}/comm").read_text().strip() == "dyff-shim"


@pytest.fixture
def bench(tmp_path):
    subject = Bench(tmp_path)
    yield subject
    subject.template.close()
    for uid in directory.uids(tmp_path / "pods"):
        place = directory.Directory(tmp_path / "pods", uid)
        facts = place.facts()
        if facts.held:
            shim = sure(facts.record).shim
            processes.signal_exactly(shim.pid, shim.ticks, signal.SIGKILL)
        until(lambda place=place: not place.facts().held)
        stopping.settle(place)
    os.close(sure(subject.lock))


def test_a_forked_step_begins_like_an_executed_one(bench):
    """Everything that a process can see of its beginning is the same, but for what the wrapper of these tests adds."""
    states = []
    for forked in (False, True):
        ended, [line] = bench.run("p", "state", forked=forked, env={"TZ": "Asia/Tokyo", "OWN": "a=b\n\u00fc", "EMPTY": ""})
        assert ended.exit_code == 0
        states.append(json.loads(line))
        directory.Directory(bench.root / "pods", "p").remove()
    executed, forked = states
    for state in states:
        for name in ("PYTHONPATH", "PWD", "OLDPWD", "SHLVL", "_"):
            state["environment"].pop(name, None)
            state["environment of a child"] = [each for each in state["environment of a child"] if not each.startswith(f"{name}=")]
    assert forked["command"][:4] == ["-P", "-m", "tests.pods.a_step", "state"]
    assert forked == executed


@pytest.mark.parametrize(
    ("action", "want"),
    [
        ("return-7", (7, None)),
        ("exit-none", (0, None)),
        ("exit-text", (1, None)),
        ("exit-259", (3, None)),
        ("exit-negative", (255, None)),
        ("raise", (1, None)),
        ("late", (0, None)),
        ("terminated", (143, 15)),
        ("interrupted", (130, 2)),
        ("killed", (137, 9)),
        ("hung up", (129, 1)),
        ("buffered", (3, None)),
        ("broken", (120, None)),
        ("at-once", (5, None)),
    ],
)
def test_a_forked_step_ends_like_an_executed_one(bench, action, want):
    """Exit code, signal and output are the same; an uncaught exception leaves a traceback."""
    executed, said = bench.run("executed", action, forked=False)
    forked, also_said = bench.run("forked", action, forked=True)
    assert (executed.exit_code, executed.signal) == want
    assert (forked.exit_code, forked.signal, forked.reason) == (executed.exit_code, executed.signal, executed.reason)
    if said and said[0].startswith("Traceback"):
        assert also_said[0] == said[0]
        said, also_said = said[-1:], also_said[-1:]
    ours = re.compile(r"^(object address|object refcount|object type|lost sys.stderr).*|<.*at 0x.*>")
    assert [each for each in also_said if not ours.match(each)] == [each for each in said if not ours.match(each)]


def test_two_forked_steps_have_different_random_numbers(bench):
    """Nothing of the template's random state is repeated."""
    values = {tuple(bench.run(f"p{index}", "random", forked=True)[1]) for index in range(3)}
    assert len(values) == 3


@pytest.mark.parametrize("variable", ["PYTHONUTF8", "LD_PRELOAD", "LC_ALL", "LANG", "MALLOC_ARENA_MAX", "ARROW_DEFAULT_MEMORY_POOL"])
def test_variables_that_are_read_at_the_start_need_a_new_process(bench, variable):
    """A step with such a variable is executed, since in a forked one it would have no effect."""
    value = "0" if variable.startswith("P") else "C"
    argument = bench.run("p", "state", forked=True, env={variable: value})[1][-1]
    assert json.loads(argument)["environment"]["PYTHONPATH"] == str(ROOT)


def test_a_missing_directory_is_a_start_error(bench):
    """The working directory of a forked step is checked as for a program."""
    ended, _ = bench.run("p", "state", forked=True, cwd="/no/such/directory")
    assert (ended.exit_code, ended.reason) == (128, "StartError")
    assert "/no/such/directory" in ended.message


def test_the_memory_limit_counts_what_a_step_allocates(bench):
    """A forked step that holds more than its limit is killed; what it shares with the template alone does not kill it."""
    ended, _ = bench.run("large", "allocate", forked=True, memory_bytes=100 * 2**20)
    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")
    ended, _ = bench.run("small", "late", forked=True, memory_bytes=100 * 2**20)
    assert ended.exit_code == 0


def test_each_run_starts_once(bench):
    """A second request for the same run does nothing, while it runs and afterwards."""
    place = bench.start("p", "sleep", forked=True)
    before = place.facts().record
    starting.spawn(bench.config, place, 0, bench.template)
    starting.spawn(bench.config, place, 0)
    assert place.facts().record == before
    os.kill(outcome(place).pid, signal.SIGKILL)
    until(lambda: not place.facts().held)
    before = place.facts().record
    starting.spawn(bench.config, place, 0, bench.template)
    assert place.facts().record == before


def test_pods_outlive_the_template(bench):
    """If the template is killed, its shims and steps go on, and a new one starts later."""
    place = bench.start("p", "sleep", forked=True)
    until(lambda: lines(place) == ["asleep"])
    assert was_forked(place)
    first = bench.template.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: processes.started(first) is None)
    other = bench.start("q", "sleep", forked=True)  # without a template
    assert not was_forked(other)
    until(lambda: bench.template.ensure(), "the new template")
    assert bench.template.pid != first
    assert was_forked(bench.start("r", "sleep", forked=True))
    assert place.facts().held
    assert processes.started(outcome(place).pid) is not None


def test_a_template_that_is_killed_meanwhile_costs_no_run(bench):
    """Killed at any moment of a request, the pod is started exactly once."""
    bench.template = templates.Template(bench.python, bench.root / "template.log", "tests.pods.a_step", first_pause_s=0.0)
    template = None
    for index in range(12):
        until(lambda killed=template: bench.template.ensure() and bench.template.pid not in (None, killed))
        template, place = bench.template.pid, bench.promise(f"p{index}", "sleep")
        killer = threading.Timer(index * 0.003, os.kill, [template, signal.SIGKILL])
        killer.start()
        starting.spawn(bench.config, place, 0, bench.template)
        killer.join()
        facts = place.facts()
        assert facts.held
        assert not facts.record.finished


def test_a_template_that_hangs_is_ended(bench, monkeypatch):
    """A stopped template costs the time limit once; the pod is started without it."""
    bench.run("before", "exit-none", forked=True)
    monkeypatch.setattr(templates, "ANSWER_S", 0.2)
    stopped = bench.template.pid
    os.kill(stopped, signal.SIGSTOP)
    place = bench.start("p", "sleep", forked=True)
    assert not was_forked(place)
    until(lambda: processes.started(stopped) is None)


def test_a_template_that_cannot_start_is_done_without(bench):
    """An interpreter that fails does not prevent pods from starting, and is not started for each of them."""
    bench.template = templates.Template("/bin/false", bench.root / "template.log")
    for index in range(4):
        assert bench.run(f"p{index}", "exit-none", forked=True)[0].exit_code == 0


def test_a_killed_shim_leaves_nothing(bench):
    """The processes of a forked step are found and killed, also those that left its session, and also without a record."""
    for known in (True, False):
        place = bench.start(f"p-{known}", "child", forked=True)
        until(lambda place=place: lines(place) == ["started"])
        record = place.facts().record
        step = outcome(place).pid
        children = processes.descendants(step)
        assert children
        os.kill(record.shim.pid, signal.SIGKILL)
        until(lambda place=place: not place.facts().held)
        with files.taken(place.lock) as free:
            assert free
            stopping.kill_orphans(place, record if known else None)
        until(lambda step=step, children=children: not any(map(processes.started, [step, *children])))
        stopping.settle(place)


def test_a_forked_shim_is_recognized_without_its_directory(bench):
    """A shim and its step show their pod's directory in their environment, so they are found even if the directory is lost."""
    place = bench.start("p", "sleep", forked=True)
    until(lambda: lines(place) == ["asleep"])
    shim, step = place.facts().record.shim.pid, outcome(place).pid
    assert {shim, step} <= stopping._orphans(place, None).keys()
    assert bench.template.pid not in stopping._orphans(place, None)
    for pid in (shim, step):
        assert b"padding" not in Path(f"/proc/{pid}/environ").read_bytes().lower()


def test_the_template_ends_with_its_server(bench):
    """When the server is gone, which closes the socket, the template ends without being asked."""
    bench.run("p", "exit-none", forked=True)
    pid = bench.template.pid
    bench.template._requests.close()
    until(lambda: processes.started(pid) is None)


def test_an_idle_template_does_nothing(bench):
    """It waits without polling: no CPU time and no wake-ups pass while there is no request."""
    bench.run("p", "exit-none", forked=True)
    pid = bench.template.pid

    def used() -> list[str]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
        return [*fields[11:13], *re.findall(r"ctxt_switches:\t(\d+)", status)]

    def steady() -> list[str] | None:
        first = used()
        time.sleep(0.1)  # real time: it must not have used the processor meanwhile
        return first if used() == first else None

    until(lambda: not list(processes.descendants(pid)))
    before = until(steady)
    # real time: it must not use the processor meanwhile, by the kernel's own count
    time.sleep(1)
    assert used() == before


def test_the_real_template_has_one_thread_and_the_steps(tmp_path):
    """With our own steps imported the template has one thread, so that forking it is safe, and it serves."""
    subject = templates.Template(sys.executable, tmp_path / "template.log")
    try:
        read, write = os.pipe()
        with open(tmp_path / "errors", "wb") as errors:
            assert subject.request(tmp_path, 0, errors.fileno()) is not None
        os.close(read)
        os.close(write)
        status = Path(f"/proc/{subject.pid}/status").read_text()
        assert re.search(r"Threads:\t1\n", status)
        assert "arrow" in Path(f"/proc/{subject.pid}/maps").read_text()
    finally:
        subject.close()
    assert (tmp_path / "template.log").read_text() == ""
