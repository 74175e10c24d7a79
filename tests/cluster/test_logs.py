"""How container logs are read."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from dyff.cluster import port
from dyff.cluster.embedded import EmbeddedCluster, logs, tails
from dyff.cluster.instants import instant
from dyff.kernel import clock, errors, ids


def stamp(number: int) -> str:
    return f"2026-01-01T00:00:{number // 1000:02}.{number % 1000:09}Z"


def write(path: Path, numbers: range, *, width: int = 1, tail: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{stamp(number)} {'x' * width} {number}\n" for number in numbers) + tail)


def numbers(lines: Sequence[port.LogLine]) -> list[int]:
    return [int(line.message.rpartition(" ")[2]) for line in lines]


@pytest.mark.parametrize("width", [1, 1000, 300_000], ids=lambda width: f"lines of {width}")
def test_all_lines_in_order(tmp_path, width):
    """Lines of any length are read whole and in order, whatever the blocks in which the file is read."""
    write(tmp_path / "main.log", range(7), width=width)
    assert numbers(logs.read(tmp_path, ["main"], None, None)) == list(range(7))
    assert numbers(logs.read(tmp_path, ["main"], None, 3)) == [4, 5, 6]


def test_the_last_lines_of_a_long_log(tmp_path):
    """A limit counts from the end; `after` is exact to the nanosecond."""
    write(tmp_path / "main.log", range(50_000))
    assert numbers(logs.read(tmp_path, ["main"], None, 2)) == [49_998, 49_999]
    assert numbers(logs.read(tmp_path, ["main"], stamp(49_990), None)) == list(range(49_991, 50_000))
    assert numbers(logs.read(tmp_path, ["main"], stamp(49_990), 2)) == [49_998, 49_999]
    assert logs.read(tmp_path, ["main"], stamp(49_999), None) == ()


def test_several_containers_come_in_order(tmp_path):
    """All containers together: init containers first, and the limit cuts the beginning."""
    write(tmp_path / "init.log", range(3))
    write(tmp_path / "main.log", range(10, 13))
    assert numbers(logs.read(tmp_path, ["init", "main"], None, None)) == [0, 1, 2, 10, 11, 12]
    assert numbers(logs.read(tmp_path, ["init", "main"], None, 4)) == [2, 10, 11, 12]


@pytest.mark.parametrize("content", ["", "half a line", "\n"], ids=["nothing", "half a line", "an empty line"])
def test_there_may_be_nothing(tmp_path, content):
    """A log that has no whole line has none, and so has one that is not there."""
    (tmp_path / "main.log").write_text(content)
    assert logs.read(tmp_path, ["main", "absent"], None, None) == ()


def test_a_line_that_is_being_written_waits(tmp_path):
    """What has no line feed yet is not shown yet."""
    write(tmp_path / "main.log", range(2), tail=f"{stamp(2)} x 2")
    assert numbers(logs.read(tmp_path, ["main"], None, None)) == [0, 1]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000000Z"),
        ("2026-01-01T01:00:00.5+01:00", "2026-01-01T00:00:00.500000000Z"),
        ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.123456789Z"),
    ],
)
def test_instants_compare_as_texts(text, want):
    """RFC 3339 in any precision and zone becomes one form whose text order is time order."""
    assert instant(text) == want


def test_a_tail_reads_on_over_turns(tmp_path):
    """Each line comes once and in order: half lines wait, and a file that was cut to its newer half goes on where it was."""
    now = tmp_path / "main.log"
    tail = tails.Tail(tmp_path, "main", None)
    assert tail.read() == []
    write(now, range(3), tail=f"{stamp(3)} x")
    assert numbers(tail.read()) == [0, 1, 2]
    with now.open("a") as file:
        file.write(" 3\n")
    assert numbers(tail.read()) == [3]
    for first in (2, 4):
        with now.open("a") as file:
            file.write(f"{stamp(first + 2)} x {first + 2}\n")
        write(tmp_path / "half", range(first, first + 4))
        (tmp_path / "half").rename(now)
        assert numbers(tail.read()) == [first + 2, first + 3]
    assert tail.read() == []
    tail.close()


def test_a_tail_begins_after_a_line(tmp_path):
    """The whole log where nothing is said, else what is later; a long log in several looks."""
    write(tmp_path / "main.log", range(tails.LINES + 5))
    tail = tails.Tail(tmp_path, "main", None)
    assert numbers(tail.read()) == list(range(tails.LINES))
    assert numbers(tail.read()) == list(range(tails.LINES, tails.LINES + 5))
    tail.close()
    later = tails.Tail(tmp_path, "main", stamp(tails.LINES + 1))
    assert numbers(later.read()) == list(range(tails.LINES + 2, tails.LINES + 5))
    later.close()


def test_a_tail_outlives_the_directory(tmp_path):
    """What was written before a Pod's directory was removed is still shown."""
    write(tmp_path / "pod" / "main.log", range(2))
    tail = tails.Tail(tmp_path / "pod", "main", None)
    assert numbers(tail.read()) == [0, 1]
    with (tmp_path / "pod" / "main.log").open("a") as file:
        file.write(f"{stamp(2)} x 2\n")
    shutil.rmtree(tmp_path / "pod")
    assert numbers(tail.read()) == [2]
    assert tail.read() == []
    tail.close()


async def test_a_pod_is_followed_to_its_end(tmp_path):
    """Lines come as they are written, and after the end of the container the rest, then the end."""
    time = clock.SystemClock()
    async with EmbeddedCluster.open(tmp_path / "cluster.sqlite", clock=time, ids=ids.RandomIds(), pods_dir=tmp_path / "pods") as cluster:
        pod = await cluster.create(port.POD, {"metadata": {"name": "pod"}, "spec": {"containers": [{"name": "main", "image": "i"}]}})
        log = tmp_path / "pods" / pod["metadata"]["uid"] / "main.log"
        write(log, range(2))
        seen = []
        with anyio.fail_after(10):
            async for line in cluster.follow("pod", "main", since=stamp(0)):
                seen += numbers((line,))
                if seen[-1] < 3:
                    with log.open("a") as file:
                        file.write(f"{stamp(seen[-1] + 1)} x {seen[-1] + 1}\n")
                else:
                    await cluster.patch(port.POD, "pod", {"status": {"phase": "Succeeded"}}, status=True)
        assert seen == [1, 2, 3]


async def test_logs_are_found_by_the_pods_uid(tmp_path):
    """The port reads the files of that very Pod, of one container or all, and refuses what is no time."""
    time = clock.SystemClock()
    async with EmbeddedCluster.open(tmp_path / "cluster.sqlite", clock=time, ids=ids.RandomIds(), pods_dir=tmp_path / "pods") as cluster:
        spec = {"containers": [{"name": "main", "image": "i"}], "initContainers": [{"name": "init", "image": "i"}]}
        pod = await cluster.create(port.POD, {"metadata": {"name": "pod"}, "spec": spec})
        directory = tmp_path / "pods" / pod["metadata"]["uid"]
        write(directory / "init.log", range(2))
        write(directory / "main.log", range(5, 8))
        assert numbers(await cluster.logs("pod")) == [0, 1, 5, 6, 7]
        assert numbers(await cluster.logs("pod", container="init")) == [0, 1]
        assert numbers(await cluster.logs("pod", container="main", since=stamp(5), limit=1)) == [7]
        assert await cluster.logs("pod", container="absent") == ()
        with pytest.raises(errors.InvalidFields, match="since"):
            await cluster.logs("pod", since="yesterday")
