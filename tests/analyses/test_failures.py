"""What the code of a method can do wrong: each has a reason and a message, and the log says more."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from dyff.cluster.pods.shim import landlock
from tests.analyses.runs import ROOT, Analysis, columns, environment
from tests.analyses.test_functions import DATA, HEAD, WORDS, function

RAISES = HEAD + (
    "def counted(row):\n    return float(len(row['text']))\n\n\n"
    "def mean_word_length(arguments, data):\n    for batch in data.to_batches():\n"
    "        yield pa.RecordBatch.from_pylist([{'_index_': 1, 'words': counted(row)} for row in batch.select(['_index_']).to_pylist()])\n"
)
IN_LIBRARY = "import json\nfrom helpers.inner import read\n\ndef mean_word_length(arguments, data):\n    read('no JSON')\n    yield\n"
GROWS = "rows = []\nwhile True:\n    rows.append(bytes(2**20))"
CHILD_LEFT = "import subprocess\nsubprocess.Popen(['sleep', '600'])\nsubprocess.Popen('(sleep 601 &) ; sleep 602', shell=True)\nreturn []"

HIDES = """
import json, os, sys
from dyff.cluster.pods.shim import landlock, syscalls
if sys.argv[2]:
    os.setsid()
syscalls.prctl(38, 1)
landlock.enter(landlock.prepare(json.loads(sys.argv[1])))
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Starts a program that cannot list processes, as the tier landlock does. Arguments: rules, whether it leads a group, the program."""


def case(title, text, message, reason="RunFailed", line=None, **more):
    return pytest.param({"text": text, **more}, reason, message, line, id=title)


CASES = [
    case("raises", RAISES, "word_length.py, line 4, in counted: KeyError: 'text' (line: return float(len(row['text'])))", line=4),
    case("returns None", function("pass"), "returned None; it must yield pyarrow RecordBatches", line=3),
    case("yields rows", function("yield {'words': 1.0}"), "yielded a dict as its first value; it must yield pyarrow RecordBatches"),
    case(
        "yields garbage later",
        function("yield pa.RecordBatch.from_pylist([], schema=SCHEMA)\nyield 3"),
        "yielded a int as its second value",
    ),
    case("returns a list of rows", function("return [{'words': 1.0}]"), "RecordBatch.from_pylist(rows, schema=...)", line=3),
    case("returns a frame", function("import pandas\nreturn pandas.DataFrame({'words': [1.0]})"), "returned a DataFrame"),
    case("returns text", function("return 'text'"), "returned a str; it must"),
    case("is async", HEAD + "async def mean_word_length(arguments, **inputs):\n    return []\n", "is an async function"),
    case("lacks a column", function("yield pa.RecordBatch.from_pydict({'_index_': [1]})"), "missing columns: words"),
    case(
        "has more columns",
        function("yield pa.RecordBatch.from_pydict({'_index_': [1], 'words': [1.0], 'extra': [1]})"),
        "not declared: extra",
    ),
    case("has other types", function("yield pa.RecordBatch.from_pydict({'_index_': [1], 'words': [1]})"), "words is int64, not double"),
    case(
        "exits",
        function("import sys\nsys.exit(0)"),
        "word_length.py, line 5, in mean_word_length: the code ended the process by sys.exit(0)",
        line=5,
    ),
    case(
        "exits at import", "raise SystemExit('enough')", "word_length.py, line 1: the code ended the process by sys.exit('enough')", line=1
    ),
    case("_exit", function("import os\nos._exit(0)"), "exit code 0 before the code had finished"),
    case(
        "segfault",
        function("import ctypes\nctypes.string_at(0)"),
        "word_length.py, line 5, in mean_word_length: the process was ended by SIGSEGV",
        line=5,
    ),
    case(
        "surrogates",
        function("raise ValueError('\\udcff \\x00')"),
        "word_length.py, line 4, in mean_word_length: ValueError: \\udcff",
        line=4,
    ),
    case("folder that cannot be written", function("import os\nos.chmod('..', 0o555)\n1 / 0"), "ZeroDivisionError", line=6),
    case("no links to modules", function("import shutil\nshutil.rmtree('../root')\n1 / 0"), "word_length.py, line 6, in", line=6),
    case("abort", function("import os\nos.abort()"), "SIGABRT", line=5),
    case("interrupt", function("raise KeyboardInterrupt"), "KeyboardInterrupt", line=4),
    case("no module", WORDS, "no Python module 'missing' was found", name="missing.function"),
    case("no function", WORDS, "has no 'missing', which the method's fullyQualifiedName names; it has SCHEMA", name="word_length.missing"),
    case("not a function", WORDS, "is a Schema, not a function", name="word_length.SCHEMA"),
    case("no name", WORDS, "fullyQualifiedName is 'word_length'", name="word_length"),
    case(
        "imports what is not there", "import sklearnn\n", "word_length.py, line 1: ModuleNotFoundError: No module named 'sklearnn'", line=1
    ),
    case("cannot be compiled", "def mean_word_length(:\n", "word_length.py, line 1: SyntaxError: ", line=1),
    case("recursion", function("def f():\n    return f()\nreturn f()"), "RecursionError", line=5),
    case("its error has no text", function("class E(Exception):\n    __str__ = None\nraise E"), "E: its text cannot be made", line=6),
    case("wrong arguments", HEAD + "def mean_word_length(arguments):\n    return []\n", "unexpected keyword argument 'data'"),
    case("memory", function(GROWS), "MemoryError", "OutOfMemory", line=6, limits={"memory_bytes": 2**29}),
    case(
        "killed",
        function("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"),
        "more memory than what the machine has",
        "OutOfMemory",
    ),
    case(
        "time",
        function("while True:\n    pass"),
        "in mean_word_length: it did not end within 6 seconds",
        "DeadlineExceeded",
        limits={"timeout_s": 6},
    ),
    case(
        "time asleep",
        function("import time\ntime.sleep(999)"),
        "line 5, in mean_word_length: it did not",
        "DeadlineExceeded",
        limits={"timeout_s": 6},
    ),
    case("large file", function("open('f', 'wb').write(bytes(2**21))"), "File too large", line=4, limits={"file_bytes": 2**20}),
    case("other kind", WORDS, "implementation.kind is 'Shell'", method={"implementation": {"kind": "Shell"}}),
    case("other output", WORDS, "a PythonFunction makes a Measurement", method={"output": {"kind": "SafetyCase"}}),
]


@pytest.fixture
def analysis(tmp_path):
    """Makes an analysis with a function."""

    def make(text=WORDS, **more):
        return Analysis(tmp_path, **{"files": {"word_length.py": text}, "datasets": {"data": DATA}, **more})

    return make


@pytest.mark.parametrize(("made", "reason", "message", "line"), CASES)
def test_failures(analysis, made, reason, message, line):
    """The runner itself ends normally; the outcome has a reason, a message that says what to do, and the line of the author's code."""
    run = analysis(**made).run()
    outcome = run.failed()
    assert outcome["reason"] == reason
    assert message in outcome["message"]
    assert (outcome["line"] or {}).get("line") == line or line is None
    assert run.text.splitlines()[-1] == f"[dyff] {reason}: {outcome['message']}"


def test_the_line_is_the_authors_own(analysis):
    """Also if a library raised, which the author's code called."""
    inner = "import json\n\ndef read(text):\n    return json.loads(text)\n"
    run = analysis(files={"word_length.py": IN_LIBRARY, "helpers/inner.py": inner}).run()
    expected = {"file": "helpers/inner.py", "line": 4, "function": "read", "text": "return json.loads(text)"}
    assert run.failed()["line"] == expected
    assert run.outcome["message"].startswith("helpers/inner.py, line 4, in read: JSONDecodeError: ")


def test_a_gigabyte_of_log_is_bounded(analysis):
    """The log has its beginning and its end, and says what was left out; what the pod prints is bounded as well."""
    body = "print('first')\nfor _ in range(2**10):\n    print('x' * 2**17)\nprint('last')\nraise ValueError('in the end')"
    run = analysis(function(body), limits={"log_bytes": 2**18}).run()
    assert run.failed()["message"].startswith("word_length.py, line 8, in mean_word_length: ValueError: in the end")
    assert len(run.text) <= 2**18
    assert "first" in run.text
    assert "\nlast\n" in run.text
    assert "bytes of the log were left out here" in run.text
    assert len(run.printed) <= 2**18


def test_codes_of_terminals_are_not_in_the_log(analysis):
    """Also if one is divided between two writes."""
    body = "import sys\nsys.stdout.write('\\x1b[3')\nsys.stdout.write('1mred\\x1b[0m \\x1b]0;title\\x07plain\\n')\nreturn []"
    assert "red plain\n" in analysis(function(body)).run().succeeded().text


def test_nothing_is_left_running(analysis):
    """Processes that the code left, also those that lost their parent, are ended."""
    body = "import os\nprint('pid', os.getpid())\n" + CHILD_LEFT
    run = analysis(function(body)).run().succeeded()
    folder = str(run.out)
    left = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                environ = Path(f"/proc/{entry}/environ").read_bytes()
            except OSError:
                continue
            if folder.encode() in environ:
                left.append(entry)
    assert left == []


def test_a_sandbox_may_hide_the_list_of_processes(analysis, tmp_path):
    """Then what the code left is found in the runner's own process group; a group of others is left alone."""
    readable = [f"/{name}" for name in os.listdir("/") if name != "proc"]
    rules = {"system": [*readable, "/proc/loadavg"], "write": [str(tmp_path)], "devices": ["/dev/null"]}
    for leads in (True, False):
        left = tmp_path / f"left-{leads}"
        body = f"import os, time\nif os.fork() == 0:\n    os.fork()\n    open({str(left)!r}, 'a').write(f'{{os.getpid()}} ')\n"
        body += (
            f"    time.sleep(5)\n    os._exit(0)\nwhile not os.path.exists({str(left)!r}) or len(open({str(left)!r}).read().split()) < 2:\n"
        )
        body += "    time.sleep(0.01)\nreturn []"
        before = (sys.executable, "-c", HIDES, json.dumps(rules), *(["leads"] if leads else [""]))
        analysis(function(body)).run(*before).succeeded()
        pids = left.read_text().split()
        assert [pid for pid in pids if leads and Path(f"/proc/{pid}").exists()] == []
        for pid in pids if not leads else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@pytest.mark.skipif(landlock.abi() < landlock.ABI_SCOPE, reason="the kernel cannot scope signals")
def test_the_supervisor_cannot_be_signalled(analysis):
    """The code can end its own processes, and neither end nor stop the one that watches it."""
    attempts = "for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):\n    try:\n        os.kill(os.getppid(), number)\n"
    attempts += "    except PermissionError:\n        print('refused')\n"
    own = "child = os.fork()\nif child == 0:\n    signal.pause()\nos.kill(child, 9)\nprint('own', os.waitpid(child, 0)[1])\n"
    run = analysis(function(f"import os, signal\n{attempts}{own}1 / 0")).run()
    assert run.failed()["line"]["text"] == "1 / 0"
    assert "refused\nrefused\nrefused\nown 9\n" in run.text


def test_a_fork_reports_nothing(analysis):
    """A process that the code forked, and which fails, is not the run."""
    body = "import os\npid = os.fork()\nif pid == 0:\n    raise ValueError('in the fork')\nos.waitpid(pid, 0)\nreturn []"
    assert "in the fork" in analysis(function(body)).run().succeeded().text


def test_workers_of_the_code_may_work(analysis):
    """Processes of multiprocessing, by either method of starting."""
    text = HEAD + (
        "import multiprocessing\ndef square(x):\n    return x * x\n"
        "def mean_word_length(arguments, **inputs):\n    for how in ('fork', 'spawn'):\n"
        "        with multiprocessing.get_context(how).Pool(2) as pool:\n"
        "            print(how, pool.map(square, [1, 2, 3]))\n    return []\n"
    )
    run = analysis(text).run().succeeded()
    assert "fork [1, 4, 9]" in run.text
    assert "spawn [1, 4, 9]" in run.text


def test_sockets_are_refused_where_the_operator_says_so(analysis):
    """On Kubernetes no process of the run can make a socket, except local ones; a program that it starts neither."""
    body = (
        "import socket, subprocess, sys\n"
        "a, b = socket.socketpair()\n"
        "for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):\n"
        "    try:\n        socket.socket(family)\n    except OSError as error:\n        print(family.name, error.strerror)\n"
        "subprocess.run([sys.executable, '-c', 'import socket; socket.socket()'])\nprint(open('/proc/self/status').read())\nreturn []"
    )
    run = analysis(function(body)).run(DYFF_CONFINE="sockets").succeeded()
    for name in ("AF_INET", "AF_INET6", "AF_NETLINK"):
        assert f"{name} Address family not supported by protocol" in run.text
    assert "OSError: [Errno 97]" in run.text
    assert "NoNewPrivs:\t1" in run.text


def test_what_cannot_be_run_is_an_error_of_the_runner(analysis):
    """A folder that the step before did not prepare is not the author's fault: the program fails."""
    import subprocess

    made = analysis().prepare()
    (made.inside / ".dyff/analysis.json").write_text("{}")
    command = [environment(), "-I", ROOT / "dyff/workflows/analysis_runner", "--in", made.inside, "--out", made.out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the run cannot be started: analysis.json has no spec with an id" in done.stderr


def test_links_in_the_output_are_removed_before_the_next_run(analysis, tmp_path):
    """A link that the code left where the runner writes is not followed."""
    target = tmp_path / "target"
    target.write_text("precious")
    made = analysis(function("return []"))
    run = made.run()
    for name in ("outcome.json", "logs.txt", ".outcome.json"):
        (run.out / name).unlink(missing_ok=True)
        (run.out / name).symlink_to(target)
    made.again().succeeded()
    assert target.read_text() == "precious"


def test_batches_are_checked_one_by_one(analysis):
    """The message says which one does not fit."""
    first = "yield pa.RecordBatch.from_pylist([{'_index_': 1, 'words': 1.0}], schema=SCHEMA)\n"
    body = first + "yield pa.RecordBatch.from_pydict({'_index_': [1]})"
    expected = "word_length.py, line 5, in mean_word_length: the second batch of word_length.mean_word_length does not fit"
    assert analysis(function(body)).run().failed()["message"].startswith(expected)


def test_nulls_where_the_schema_forbids_them(analysis):
    """A column that is declared as never null has no nulls."""
    schema = columns(_index_=pa.int64(), words=pa.field("words", pa.float64(), nullable=False))
    body = "yield pa.RecordBatch.from_pylist([{'_index_': 1, 'words': None}], schema=SCHEMA)"
    assert "the column words has 1 nulls" in analysis(function(body), schema=schema).run().failed()["message"]
