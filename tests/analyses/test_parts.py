"""The parts of the runner that need no environment of their own."""

from __future__ import annotations

import os
import struct

import pyarrow as pa
import pytest

from dyff.workflows.analysis_runner import batches, confining, environment, failures, outputs
from dyff.workflows.analysis_runner.logs import TAIL_BYTES, Log

ALLOWED, REFUSED, UNKNOWN, KILLED = 0x7FFF0000, 0x00050000 | 97, 0x00050000 | 38, 0x80000000
X86, ARM = ("x86_64", 0xC000003E, 41), ("aarch64", 0xC00000B7, 198)


@pytest.fixture
def written(tmp_path):
    """Feeds a log, and returns what it wrote."""

    def feed(*pieces, limit=2**20):
        path = tmp_path / "log"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        log = Log([descriptor], limit)
        for piece in pieces:
            log.feed(piece)
        log.close()
        os.close(descriptor)
        return path.read_bytes().decode()

    return feed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m plain", "red plain"),
        ("\x1b]0;title\x07plain", "plain"),
        ("a\x1b[2K\rb", "a\rb"),
        ("\x1b(B\x1b7\x1b=plain", "plain"),
        ("ä\N{SNOWMAN}", "ä\N{SNOWMAN}"),
        ("ends in \x1b[3", "ends in \x1b[3"),
    ],
)
def test_a_log_may_be_divided_anywhere(written, text, shown):
    """Neither a character nor the code of a terminal depends on how much was read at once."""
    data = text.encode()
    for at in range(len(data) + 1):
        assert written(data[:at], data[at:]) == shown
    assert written(*(data[at : at + 1] for at in range(len(data)))) == shown


def test_bytes_that_are_not_text_are_shown_as_such(written):
    """The log stays UTF-8."""
    assert written(b"a\xffb") == "a\N{REPLACEMENT CHARACTER}b"


def test_a_log_within_its_bound_is_complete(written):
    """Also if it needs the part that is kept for the end."""
    text = "".join(f"{number}\n" for number in range(3000))
    assert written(text.encode(), limit=len(text) + 200) == text


@pytest.mark.parametrize("size", [1, 1000, 2**17])
def test_a_longer_log_has_its_beginning_and_its_end(written, size):
    """And one line that says how much was left out."""
    text = "".join(f"{number:07}\n" for number in range(2**16)).encode()
    step = max(size, 64)
    found = written(*(text[at : at + step] for at in range(0, len(text), step)), limit=2**18)
    before, _, rest = found.partition("\n[dyff] ")
    said, _, after = rest.partition("\n")
    assert text.startswith(before.encode())
    assert text.endswith(after.encode())
    assert len(after) == TAIL_BYTES
    assert said == f"{len(text) - len(before) - len(after)} bytes of the log were left out here, because it is too long"
    assert len(found) <= 2**18


def verdict(code, architecture, number, first=0):
    """What a filter decides about a system call."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, first, 0, 0, 0, 0, 0)
    at, held = 0, 0
    program = list(struct.iter_unpack("=HBBI", code))
    while True:
        operation, then, otherwise, constant = program[at]
        if operation == 0x20:
            (held,) = struct.unpack_from("=I", data, constant)
        elif operation == 0x06:
            return constant
        elif operation == 0x15:
            at += then if held == constant else otherwise
        else:
            assert operation == 0x35
            at += then if held >= constant else otherwise
        at += 1


@pytest.mark.parametrize(("machine", "architecture", "socket"), [X86, ARM])
def test_only_local_sockets_can_be_made(machine, architecture, socket):
    """All other families are refused; other calls are not concerned; another architecture's calls would be something else."""
    code = confining.no_sockets(machine)
    assert verdict(code, architecture, socket, 1) == ALLOWED
    assert {verdict(code, architecture, socket, family) for family in (0, *range(2, 64), 2**31)} == {REFUSED}
    assert verdict(code, architecture, 425) == UNKNOWN
    assert {verdict(code, architecture, number) for number in range(500) if number not in (socket, 425)} == {ALLOWED}
    assert verdict(code, 0x40000003, socket, 2) == KILLED


def test_an_unknown_architecture_is_refused():
    """There, nothing is run without the filter."""
    with pytest.raises(OSError, match="architecture riscv64"):
        confining.no_sockets("riscv64")


def test_the_line_in_a_dump_is_the_innermost_of_the_author(tmp_path):
    """Python prints the stack of each thread, the innermost call first; the current thread counts, or else the main one, which is last."""
    (tmp_path / "own.py").write_text("one\ntwo\nthree\n")
    own = tmp_path / "own.py"
    text = (
        "Fatal Python error: Segmentation fault\n\n"
        f'Thread 0x0001 (most recent call first):\n  File "/lib/threading.py", line 1 in run\n  File "{own}", line 1 in other\n\n'
        f'Current thread 0x0002 [python] (most recent call first):\n  File "/lib/x.py", line 9 in f\n  File "{own}", line 2 in inner\n'
        f'  File "{own}", line 3 in outer\n\nExtension modules: numpy\n'
    )
    assert failures.dumped(text, {str(tmp_path): "m"}) == {"file": "own.py", "line": 2, "function": "inner", "text": "two"}
    assert failures.dumped("nothing", {str(tmp_path): "m"}) is None


def test_a_message_is_one_line_of_bounded_length():
    """It is the last line of the log and the message of a status."""
    said = failures.message(ValueError("first\n  second " + "x" * 10_000), None)
    assert said.startswith("ValueError: first second xxx")
    assert "\n" not in said
    assert len(said) < failures.MAX_TEXT + 100


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (pa.dictionary(pa.int32(), pa.string()), "text is dictionary<values=string, indices=int32, ordered=0>, not string"),
        (pa.large_string(), "text is large_string, not string"),
        (pa.int64(), "text is int64, not string"),
    ],
)
def test_types_are_those_that_are_declared(typed, message):
    """A similar type is another one: who reads the files relies on the declaration."""
    batch = pa.RecordBatch.from_arrays([pa.nulls(1, typed)], names=["text"])
    with pytest.raises(failures.Failed, match="does not fit") as caught:
        batches.fitted(batch, pa.schema({"text": pa.string()}), "the batch")
    assert message in str(caught.value)


def test_text_that_is_not_utf8_is_found():
    """A reader of the files would stumble over it."""
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    batch = pa.RecordBatch.from_arrays([broken], names=["text"])
    with pytest.raises(failures.Failed, match="UTF8"):
        batches.fitted(batch, batch.schema, "the batch")


def test_names_of_items_of_lists_are_no_difference():
    """Libraries call the items of a list differently."""
    declared = pa.schema({"values": pa.list_(pa.field("element", pa.int64()))})
    batch = pa.RecordBatch.from_pydict({"values": [[1], [2, 3]]})
    assert batches.fitted(batch, declared, "the batch").to_pydict() == {"values": [[1], [2, 3]]}


def test_a_column_that_is_there_twice():
    """It is named."""
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(failures.Failed, match="columns that it has twice: a"):
        batches.fitted(batch, pa.schema({"a": pa.int64()}), "the batch")


@pytest.mark.parametrize(
    ("text", "shown"), [("a\rb", "b"), ("abc\rd\n", "dbc\n"), ("one\r\ntwo", "one\ntwo"), ("plain", "plain"), ("50%\r100%\r", "100%")]
)
def test_carriage_returns(text, shown):
    """Text is shown as a terminal shows it."""
    assert outputs.overwritten(text) == shown


def test_a_seed_follows_from_the_analysis():
    """The same analysis draws the same numbers again; it is a seed that Python and NumPy accept."""
    assert environment.seed("a") == environment.seed("a") != environment.seed("b")
    assert all(0 <= environment.seed(str(number)) < 2**32 for number in range(100))
