"""What the embedded cluster keeps over restarts and crashes, and what its history holds."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import apsw
import pytest

from dyff.cluster import port
from dyff.cluster.embedded import EmbeddedCluster, cluster, store
from dyff.kernel import clock, errors, ids
from tests import waiting
from tests.narrowing import closing_stream

WRITER = Path(__file__).with_name("write_for_ever.py")


def opened(path: Path, limits: store.Limits | None = None):
    return EmbeddedCluster.open(path / "cluster.sqlite", clock=clock.SystemClock(), ids=ids.RandomIds(), limits=limits)


def a_config(name: str, value: str = "1", **metadata) -> port.Object:
    return {"metadata": {"name": name, **metadata}, "data": {"a": value}}


async def changes(opened_cluster: port.Cluster, version: str, count: int) -> list[tuple[str, str]]:
    """The first `count` changes of ConfigMaps after `version`."""
    found: list[tuple[str, str]] = []
    async with closing_stream(opened_cluster.watch(port.CONFIG_MAP, version, timeout_s=10)) as stream:
        async for event in stream:
            found.append((event.type, event.object["metadata"]["name"]))
            if len(found) == count:
                break
    return found


async def test_objects_survive_a_restart(tmp_path):
    """What was there before is there afterwards, exactly, and what was deleted is not."""
    async with opened(tmp_path) as before:
        kept = await before.create(port.CONFIG_MAP, a_config("kept", labels={"l": "x"}, finalizers=["dyff.io/test"]))
        await before.create(port.CONFIG_MAP, a_config("gone"))
        await before.delete(port.CONFIG_MAP, "gone")
    async with opened(tmp_path) as after:
        assert (await after.list(port.CONFIG_MAP, {"l": "x"})).items == (kept,)
        assert await after.get(port.CONFIG_MAP, "gone") is None


async def test_watches_continue_over_a_restart(tmp_path):
    """A watch from an earlier version delivers what came since, before and after the restart, and versions only grow."""
    async with opened(tmp_path) as before:
        version = (await before.list(port.CONFIG_MAP)).resource_version
        await before.create(port.CONFIG_MAP, a_config("a", labels={"l": "x"}))
        last = await before.patch(port.CONFIG_MAP, "a", {"metadata": {"labels": {"l": None}}})
    async with opened(tmp_path) as after:
        new = await after.create(port.CONFIG_MAP, a_config("b"))
        assert int(new["metadata"]["resourceVersion"]) > int(last["metadata"]["resourceVersion"])
        assert await changes(after, version, 3) == [("ADDED", "a"), ("MODIFIED", "a"), ("ADDED", "b")]
        async with closing_stream(after.watch(port.CONFIG_MAP, version, timeout_s=5, labels={"l": "x"})) as stream:
            assert [(await anext(stream)).type for _ in range(2)] == ["ADDED", "DELETED"]


async def test_history_is_bounded(tmp_path):
    """Of many changes the last ones can be watched from; older versions have expired, also after a restart."""
    limits = store.Limits(changes=20)
    async with opened(tmp_path, limits) as before:
        created = await before.create(port.CONFIG_MAP, a_config("a"))
        versions = [created["metadata"]["resourceVersion"]]
        for number in range(60):
            patched = await before.patch(port.CONFIG_MAP, "a", {"data": {"n": str(number)}})
            versions.append(patched["metadata"]["resourceVersion"])
        await _check_history(before, versions)
    async with opened(tmp_path, limits) as after:
        await _check_history(after, versions)


async def _check_history(opened_cluster: port.Cluster, versions: list[str]) -> None:
    assert len(await changes(opened_cluster, versions[-21], 20)) == 20
    with pytest.raises(errors.WatchExpired):
        await changes(opened_cluster, versions[-30], 1)


async def test_history_is_bounded_in_bytes(tmp_path):
    """Large objects shorten the history, so that it never fills memory or disk."""
    async with opened(tmp_path, store.Limits(changes=1000, bytes=100_000)) as small:
        first = await small.create(port.CONFIG_MAP, a_config("a", "x" * 20_000))
        for number in range(10):
            await small.patch(port.CONFIG_MAP, "a", {"data": {"n": str(number)}})
        with pytest.raises(errors.WatchExpired):
            await changes(small, first["metadata"]["resourceVersion"], 1)


async def test_a_slow_watch_expires(tmp_path):
    """A watch whose client falls behind the history gets an error, and never skips changes silently."""
    async with opened(tmp_path, store.Limits(changes=10)) as small:
        version = (await small.list(port.CONFIG_MAP)).resource_version
        await small.create(port.CONFIG_MAP, a_config("a"))
        async with closing_stream(small.watch(port.CONFIG_MAP, version, timeout_s=10)) as stream:
            assert (await anext(stream)).type == "ADDED"
            for number in range(40):
                await small.patch(port.CONFIG_MAP, "a", {"data": {"n": str(number)}})
            with pytest.raises(errors.WatchExpired):
                await anext(stream)


async def test_other_types_do_not_expire_a_watch(tmp_path):
    """A watch of a quiet type goes on while others churn through the history."""
    async with opened(tmp_path, store.Limits(changes=10)) as small:
        version = (await small.list(port.CONFIG_MAP)).resource_version
        spec = {"containers": [{"name": "main", "image": "i"}]}
        await small.create(port.POD, {"metadata": {"name": "pod"}, "spec": spec})
        for number in range(40):
            await small.patch(port.POD, "pod", {"metadata": {"labels": {"n": str(number)}}})
        await small.create(port.CONFIG_MAP, a_config("a"))
        assert await changes(small, version, 1) == [("ADDED", "a")]


async def test_versions_of_another_file_have_expired(tmp_path):
    """A client that remembers a version of a cluster that was thrown away gets an error that says to list again."""
    async with opened(tmp_path / ".") as first:
        old = (await first.create(port.CONFIG_MAP, a_config("a")))["metadata"]["resourceVersion"]
    (tmp_path / "cluster.sqlite").unlink()
    # real time: the version of a new cluster begins at the time of day, which must have moved
    await anyio.sleep(0.01)
    async with opened(tmp_path) as second:
        await second.create(port.CONFIG_MAP, a_config("b"))
        for version in (old, str(int(old) + 10**9)):
            with pytest.raises(errors.WatchExpired):
                await changes(second, version, 1)


async def test_watches_report_how_far_they_are(tmp_path, monkeypatch):
    """A watch that sees nothing gets bookmarks while other things change, so that its client's version does not age."""
    monkeypatch.setattr(cluster, "_BOOKMARK_S", 0.01)
    async with opened(tmp_path) as quiet:
        version = (await quiet.list(port.CONFIG_MAP)).resource_version
        pod = await quiet.create(port.POD, {"metadata": {"name": "pod"}, "spec": {"containers": [{"name": "main", "image": "i"}]}})
        async with closing_stream(quiet.watch(port.CONFIG_MAP, version, timeout_s=5)) as stream:
            assert await anext(stream) == port.Event("BOOKMARK", {"metadata": {"resourceVersion": pod["metadata"]["resourceVersion"]}})


async def test_the_file_has_one_server(tmp_path):
    """A second server is refused while the first has the file, and welcome afterwards."""
    async with opened(tmp_path):
        with pytest.raises(errors.InUse):
            async with opened(tmp_path):
                pass
    async with opened(tmp_path):
        pass


async def test_a_newer_format_is_refused(tmp_path):
    """A file of a newer release is left untouched, with an error that says what to do."""
    async with opened(tmp_path):
        pass
    connection = apsw.Connection(str(tmp_path / "cluster.sqlite"))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(errors.NewerSchema, match="upgrade"):
        async with opened(tmp_path):
            pass


async def test_another_file_is_refused(tmp_path):
    """What is no cluster database is an error that names the file."""
    (tmp_path / "cluster.sqlite").write_bytes(b"hello" * 1000)
    with pytest.raises(errors.Damaged, match=r"cluster\.sqlite.* is damaged .*: restore a backup, or move it away"):
        async with opened(tmp_path):
            pass


async def test_a_damaged_file_is_refused(tmp_path):
    """A file whose content was destroyed is an error that names it, not a cluster that has forgotten things."""
    async with opened(tmp_path) as before:
        for number in range(50):
            await before.create(port.CONFIG_MAP, a_config(f"c-{number}", "x" * 2000))
    with open(tmp_path / "cluster.sqlite", "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 65536)
    with pytest.raises(errors.Damaged, match=r"cluster\.sqlite.* is damaged .*: restore a backup, or move it away"):
        async with opened(tmp_path):
            pass


async def test_a_closed_cluster_says_so(tmp_path):
    """After the end every call is refused and open watches end with that error; nothing hangs."""
    async with contextlib.AsyncExitStack() as stack:
        closed = await stack.enter_async_context(opened(tmp_path))
        version = (await closed.list(port.CONFIG_MAP)).resource_version
        stream = closed.watch(port.CONFIG_MAP, version, timeout_s=60)

        async def wait() -> None:
            with pytest.raises(errors.Unavailable):
                await anext(stream)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await stack.aclose()
    for call in (closed.get(port.CONFIG_MAP, "a"), closed.list(port.CONFIG_MAP), closed.create(port.CONFIG_MAP, a_config("a"))):
        with pytest.raises(errors.Unavailable):
            await call


async def test_a_full_disk_loses_nothing(tmp_path):
    """Where the disk refuses a write it is Unavailable, what is there stays, and the next write that fits succeeds."""
    async with opened(tmp_path) as full:
        first = await full.create(port.CONFIG_MAP, a_config("first"))
        full._writer._database.connection.execute("PRAGMA max_page_count = 20")
        with pytest.raises(errors.Unavailable):
            await full.create(port.CONFIG_MAP, a_config("large", "x" * 500_000))
        assert await full.get(port.CONFIG_MAP, "large") is None
        small = await full.create(port.CONFIG_MAP, a_config("small"))
        assert int(small["metadata"]["resourceVersion"]) == int(first["metadata"]["resourceVersion"]) + 1


async def test_one_writers_error_is_not_anothers(tmp_path):
    """Of writes that become durable together each succeeds or fails for itself."""
    async with opened(tmp_path) as shared:
        await shared.create(port.CONFIG_MAP, a_config("taken"))
        outcomes: dict[str, str] = {}

        async def create(name: str) -> None:
            try:
                await shared.create(port.CONFIG_MAP, a_config(name))
                outcomes[name] = "created"
            except errors.DyffError as error:
                outcomes[name] = type(error).__name__

        async with anyio.create_task_group() as group:
            for name in ("a", "taken", "Bad", "b"):
                group.start_soon(create, name)
        assert outcomes == {"a": "created", "taken": "AlreadyExists", "Bad": "InvalidFields", "b": "created"}


async def test_a_cancelled_write_disturbs_no_other(tmp_path):
    """A caller that gives up disturbs no other."""
    async with opened(tmp_path) as shared, anyio.create_task_group() as group:
        scope = anyio.CancelScope()

        async def give_up() -> None:
            with scope:
                await shared.create(port.CONFIG_MAP, a_config("given-up"))

        group.start_soon(give_up)
        group.start_soon(shared.create, port.CONFIG_MAP, a_config("other"))
        await anyio.lowlevel.checkpoint()
        scope.cancel()
        with anyio.fail_after(5):
            while await shared.get(port.CONFIG_MAP, "other") is None:
                await waiting.a_moment()


def written_until_killed(file: Path, lines: int) -> list[str]:
    """What a writer has printed that is killed after so many lines."""
    with subprocess.Popen([sys.executable, WRITER, file], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        return printed + process.stdout.readlines()


@pytest.mark.faults
@pytest.mark.parametrize("lines", [3, 40, 150])
async def test_kill_9_loses_nothing_that_was_answered(tmp_path, lines):
    """A writer killed at any moment leaves a file with every write that was acknowledged, and a history without gaps."""
    async with opened(tmp_path) as before:
        start = (await before.list(port.CONFIG_MAP)).resource_version
    printed = await anyio.to_thread.run_sync(written_until_killed, tmp_path / "cluster.sqlite", lines)
    answered = dict(line.split() for line in printed if line.endswith("\n"))
    assert len(answered) >= lines
    async with opened(tmp_path) as after:
        listing = await after.list(port.CONFIG_MAP)
        found = {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in listing.items}
        assert answered.items() <= found.items()
        async with closing_stream(after.watch(port.CONFIG_MAP, start, timeout_s=0)) as stream:
            versions = [int(event.object["metadata"]["resourceVersion"]) async for event in stream]
        assert versions == list(range(int(start) + 1, int(listing.resource_version) + 1))
