"""The memory of a run: one process alone fails in its own line, and a run that has lost a process says so."""

from __future__ import annotations

import re
import subprocess

import pytest

from dyff.cluster.pods.isolation import bwrap
from dyff.workflows.analysis_runner import memory
from tests.analyses.runs import Analysis
from tests.analyses.test_functions import DATA, function
from tests.conftest import missing

GI, MI = 2**30, 2**20


@pytest.fixture
def analysis(tmp_path):
    """Makes an analysis with a function."""

    def make(body, **limits):
        return Analysis(tmp_path, files={"word_length.py": function(body)}, datasets={"data": DATA}, limits=limits)

    return make


@pytest.fixture
def container(tmp_path):
    """Makes the command that runs another one as the first process of a container whose control group has these files."""
    program = bwrap.find()
    if program is None or subprocess.run([program, "--dev-bind", "/", "/", "true"], capture_output=True, check=False).returncode != 0:
        missing("no container: bubblewrap does not work here")

    def make(**files):
        groups = tmp_path / "groups"
        for name, text in files.items():
            file = groups / name.replace("__", "/").replace("_events", ".events").replace("_oom", ".oom")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        there = ("--dev-bind", "/", "/", "--proc", "/proc", "--bind", str(groups), "/sys/fs/cgroup")
        return (program, "--unshare-pid", "--as-pid-1", *there)

    return make


@pytest.mark.parametrize(("limit", "want"), [(4 * GI, 4 * GI - 192 * MI), (512 * MI, 432 * MI), (100 * MI, 50 * MI)])
def test_one_process_leaves_some_for_the_rest(limit, want):
    """For the process that watches it, and for the kernel's own tables; where there is little, half of it."""
    assert memory.of_one_process(limit) == want


def test_the_code_gets_that_much(analysis):
    """A limit of memory is known in the code, and it is less than the whole."""
    run = analysis("import resource\nprint('may hold', resource.getrlimit(resource.RLIMIT_DATA))\nreturn []", memory_bytes=GI)
    assert re.search(f"may hold \\({928 * MI}, {928 * MI}\\)", run.run().succeeded().text)


COUNTED = {
    "version 2": {"memory_events": "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 0\n"},
    "version 1": {"memory__memory_oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"},
}


@pytest.mark.parametrize("files", COUNTED.values(), ids=COUNTED)
def test_a_run_that_lost_a_process_does_not_end_with_success(analysis, container, files):
    """Also if its code went on without it: what comes after the container would never begin, and the log says why."""
    run = analysis("return []", memory_bytes=GI).run(*container(**files), ends_with=12)
    assert run.failed()["reason"] == "OutOfMemory"
    said = f"a process of the code was killed, because all together used more memory than {GI} bytes"
    assert run.printed.splitlines()[-1] == f"[dyff] OutOfMemory: {said}"


def test_the_line_is_kept_if_the_code_itself_was_killed(analysis, container):
    """What the run already knows says more than that some process was killed."""
    body = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    run = analysis(body, memory_bytes=GI).run(*container(**COUNTED["version 2"]), ends_with=12)
    assert run.failed()["message"] == f"the process was killed, because it used more memory than {GI} bytes"


NOT_COUNTED = {
    "none was killed": {"memory_events": "oom 0\noom_kill 0\n"},
    "no such counter": {"memory_events": "oom 1\n"},
    "no number": {"memory_events": "oom_kill many\n"},
    "nothing there": {"cgroup": ""},
}


@pytest.mark.parametrize("files", NOT_COUNTED.values(), ids=NOT_COUNTED)
def test_other_runs_end_as_they_did(analysis, container, files):
    """Whatever the container shows of its control group."""
    analysis("return []", memory_bytes=GI).run(*container(**files)).succeeded()


def test_counters_of_others_do_not_count(tmp_path):
    """A process that is not the first of a container may see the group of other programs."""
    (tmp_path / "memory.events").write_text("oom_kill 3\n")
    assert (memory.kills(tmp_path, process=1), memory.kills(tmp_path, process=2), memory.kills(tmp_path)) == (3, 0, 0)
