"""A cache of the cluster stays true whatever happens to its watch."""

import contextlib
import random
from typing import Any

import anyio
import pytest

from dyff.cluster import port, watching
from dyff.kernel import errors
from tests import waiting

FAST = watching.Timing(watch_s=5, grace_s=5, relist_s=600, short_s=0.01, first_delay_s=0.001, ceiling_s=0.01)


def an_object(name, version, **labels):
    """An object as the API server has it."""
    return {"metadata": {"name": name, "resourceVersion": str(version), "labels": labels}}


class ScriptedCluster:
    """Lists and watches that do what the test says next; `asked` is what it was asked."""

    def __init__(self):
        self.present = {}
        self.version = 0
        self.asked = []
        self.refusals = []
        self._send, self._receive = anyio.create_memory_object_stream[Any](100)

    def put(self, name, **labels):
        """Change the object without telling anyone."""
        self.version += 1
        self.present[name] = an_object(name, self.version, **labels)
        return self.present[name]

    async def list(self, kind, labels=None):
        self.asked.append("list")
        if self.refusals:
            raise self.refusals.pop(0)
        return port.Listing(tuple(self.present.values()), str(self.version))

    async def watch(self, kind, resource_version, *, timeout_s, labels=None):
        self.asked.append(f"watch {resource_version}")
        while True:
            step = await self._receive.receive()
            if isinstance(step, Exception):
                raise step
            if step == "end":
                return
            yield step

    def send(self, kind, obj):
        """An event on the watch that is running, or on the next."""
        self._send.send_nowait(port.Event(kind, obj))

    def end(self, step="end"):
        """End the watch."""
        self._send.send_nowait(step)

    def close(self):
        """Leave no stream open."""
        self._send.close()
        self._receive.close()


@pytest.fixture
def cluster():
    """A cluster that follows a script."""
    scripted = ScriptedCluster()
    yield scripted
    scripted.close()


class Seen:
    """What a cache reported, and a way to wait for it."""

    def __init__(self):
        self.names = []

    def __call__(self, obj):
        self.names.append(obj["metadata"]["name"])

    async def until(self, names):
        with anyio.fail_after(5):
            while self.names != names:
                await waiting.a_moment()


@contextlib.asynccontextmanager
async def running(cluster, seen, **options):
    """A cache that runs while the test does."""
    cache = watching.Cache(cluster, port.JOB, seen, timing=options.pop("timing", FAST), jitter=random.Random(1), **options)
    async with anyio.create_task_group() as group:
        await group.start(cache.run)
        yield cache
        group.cancel_scope.cancel()


async def until(condition):
    """Poll, with a deadline."""
    with anyio.fail_after(5):
        while not condition():
            await waiting.a_moment()


async def test_it_is_ready_when_the_first_list_is_there(cluster):
    """Its user finds all objects at once, and each was reported once."""
    cluster.put("a")
    cluster.put("b")
    seen = Seen()
    async with running(cluster, seen) as cache:
        assert sorted(cache.objects) == ["a", "b"]
        assert seen.names == ["a", "b"]
        assert cache.get("c") is None
        assert cache.age_s() < 5


async def test_changes_arrive_and_are_reported_after_the_cache_has_them(cluster):
    """When `on_change` is called the cache already shows the change; a deletion tells the last known form."""
    reported = []
    cluster.put("a", x="1")

    def on_change(obj):
        reported.append((obj["metadata"]["labels"], cache.get("a")))

    cache = watching.Cache(cluster, port.JOB, on_change, timing=FAST)
    async with anyio.create_task_group() as group:
        await group.start(cache.run)
        first = cache.get("a")
        second = cluster.put("a", x="2")
        cluster.send("MODIFIED", second)
        cluster.send("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
        cluster.send("DELETED", an_object("a", 10, x="3"))
        cluster.send("DELETED", an_object("never-known", 11))
        await until(lambda: len(reported) == 3)
        cluster.end()
        await until(lambda: cluster.asked[-1] == "watch 11")
        group.cancel_scope.cancel()
    assert reported == [({"x": "1"}, first), ({"x": "2"}, second), ({"x": "3"}, None)]


async def test_a_watch_that_ends_goes_on_where_it_was(cluster):
    """After the server ends a watch the next begins at the last version seen, without a new list."""
    seen = Seen()
    async with running(cluster, seen):
        cluster.send("ADDED", cluster.put("a"))
        cluster.end()
        cluster.send("BOOKMARK", {"metadata": {"resourceVersion": "7"}})
        cluster.end()
        await until(lambda: len(cluster.asked) == 4)
    assert cluster.asked == ["list", "watch 0", "watch 1", "watch 7"]
    assert seen.names == ["a"]


async def test_what_vanished_while_nobody_watched_counts_as_deleted(cluster):
    """After a watch expired the new list is compared: lost deletions, changes and creations are reported, the rest is not."""
    for name in ("gone", "changed", "same"):
        cluster.put(name)
    seen = Seen()
    async with running(cluster, seen) as cache:
        seen.names.clear()
        del cluster.present["gone"]
        cluster.put("changed")
        cluster.put("new")
        cluster.end(errors.WatchExpired())
        await seen.until(["gone", "changed", "new"])
        assert sorted(cache.objects) == ["changed", "new", "same"]
        await until(lambda: cluster.asked == ["list", "watch 3", "list", "watch 5"])


async def test_what_was_replaced_while_nobody_watched_is_reported_twice(cluster):
    """Another object of the same name, recognized by its uid, is a deletion and a creation: the first is reported while neither exists."""
    old = cluster.put("a")
    old["metadata"]["uid"] = "one"
    reported: list[Any] = []

    def note(obj):
        here = cache.get("a")
        reported.append((obj["metadata"]["uid"], here and here["metadata"]["uid"]))

    cache = watching.Cache(cluster, port.JOB, note, timing=FAST, jitter=random.Random(1))
    async with anyio.create_task_group() as group:
        await group.start(cache.run)
        cluster.put("a")["metadata"]["uid"] = "two"
        cluster.end(errors.WatchExpired("too old"))
        await until(lambda: len(reported) >= 2 and cluster.asked.count("list") == 2)
        group.cancel_scope.cancel()
    assert reported == [("one", "one"), ("one", None), ("two", "two")]


async def test_a_watch_that_always_breaks_but_brings_something_is_renewed_at_once(cluster):
    """A proxy that cuts every watch with an error costs no growing delay, as long as each watch delivered something."""
    seen = Seen()
    slow = watching.Timing(watch_s=5, grace_s=5, relist_s=600, short_s=0.01, first_delay_s=0.001, ceiling_s=1000)
    async with running(cluster, seen, timing=slow):
        for number in range(25):
            cluster.send("ADDED", cluster.put(f"job-{number}"))
            cluster.end(errors.Unavailable("cut"))
            await seen.until([f"job-{each}" for each in range(number + 1)])


async def test_a_cluster_that_does_not_answer_is_asked_again(cluster):
    """Neither at the start nor later does a failure end the cache, and what was known stays known meanwhile."""
    cluster.put("a")
    cluster.refusals = [errors.Unavailable(), errors.Unavailable()]
    seen = Seen()
    async with running(cluster, seen) as cache:
        assert cluster.asked[:3] == ["list"] * 3
        cluster.end(errors.Unavailable())
        cluster.end(errors.Unavailable())
        await until(lambda: cluster.asked[3:] == ["watch 1", "list"] * 2 + ["watch 1"])
        assert list(cache.objects) == ["a"]
        cluster.send("ADDED", cluster.put("b"))
        await seen.until(["a", "b"])


async def test_only_a_fatal_error_ends_it(cluster):
    """Whatever the server answers may pass: it is asked again. Only what makes going on wrong reaches the supervisor."""
    cluster.refusals = [
        errors.Blocked("no right to list jobs"),
        errors.InvalidFields(errors.Problem(("query",), "wrong")),
        errors.NotFound(),
        errors.TooLarge(),
        errors.Refused("a policy"),
        errors.StaleVersion(),
        errors.OutcomeUnknown(),
    ]
    async with running(cluster, Seen()):
        assert cluster.asked[:8] == ["list"] * 8
    cluster.refusals = [errors.NewerSchema()]
    with pytest.raises(errors.NewerSchema):
        await watching.Cache(cluster, port.JOB, Seen(), timing=FAST).run()


async def test_a_version_that_cannot_be_watched_is_not_asked_for_again_and_again(cluster):
    """Whatever the error says: after two failures everything is listed, so that what vanished meanwhile is noticed."""
    cluster.put("gone")
    seen = Seen()
    async with running(cluster, seen) as cache:
        del cluster.present["gone"]
        cluster.version += 5
        for error in (errors.Unavailable("an unknown form of: this version cannot be served"), errors.Unavailable("again")):
            cluster.end(error)
        await until(lambda: not cache.objects)


@pytest.mark.virtual_time
async def test_a_watch_that_delivers_nothing_leads_to_a_list(cluster):
    """A connection can look alive and be dead: after `idle_s` without even a bookmark the cache is compared with a new list."""
    cluster.put("gone")
    async with running(cluster, Seen(), timing=watching.Timing()) as cache:
        del cluster.present["gone"]
        await anyio.sleep(watching.Timing().idle_s + 1)
        assert not cache.objects
        cluster.send("BOOKMARK", {"metadata": {"resourceVersion": "7"}})
        await anyio.sleep(watching.Timing().idle_s - 1)
        assert cluster.asked == ["list", "watch 1", "list", "watch 1"]


@pytest.mark.virtual_time
@pytest.mark.parametrize("event", ["MODIFIED", "BOOKMARK"])
async def test_watches_that_end_at_once_after_an_event_are_not_repeated_at_once(cluster, event):
    """A server that sends something and ends each watch gets a bounded number of requests."""
    obj = cluster.put("a")
    async with running(cluster, Seen(), timing=watching.Timing()):
        for _ in range(40):
            cluster.send(event, obj)
            cluster.end()
        await anyio.sleep(20)
    assert 10 < len(cluster.asked) < 30


@pytest.mark.virtual_time
async def test_a_pause_that_the_server_asks_for_is_kept(cluster):
    """If it is longer than our own, and not longer than the ceiling."""
    async with running(cluster, Seen(), timing=watching.Timing()):
        cluster.end(errors.Unavailable("busy", retry_after_s=20.0))
        cluster.end(errors.Unavailable("busy", retry_after_s=1e9))
        await anyio.sleep(19)
        assert cluster.asked == ["list", "watch 0"]
        await anyio.sleep(32)
        assert cluster.asked == ["list", "watch 0", "watch 0", "list", "watch 0"]


@pytest.mark.virtual_time
async def test_a_server_that_closes_at_once_is_not_hammered(cluster):
    """Watches that end at once and bring nothing are repeated ever more slowly."""
    timing = watching.Timing(watch_s=5, grace_s=5, short_s=1, first_delay_s=0.01, ceiling_s=60)
    async with running(cluster, Seen(), timing=timing):
        for _ in range(90):
            cluster.end()
        await anyio.sleep(0.3)
        assert 3 < len(cluster.asked) < 10


async def test_a_watch_that_goes_silent_is_replaced(cluster):
    """A watch that neither ends nor says anything is left after its time, and the next one works."""
    seen = Seen()
    timing = watching.Timing(watch_s=0.01, grace_s=0.01, short_s=0.01, first_delay_s=0.001, ceiling_s=0.01)
    async with running(cluster, seen, timing=timing):
        await until(lambda: cluster.asked.count("watch 0") >= 3)
        cluster.send("ADDED", cluster.put("a"))
        await seen.until(["a"])


async def test_everything_is_listed_again_now_and_then(cluster):
    """Even if no watch ever fails, a change that one has lost is found by the next list."""
    seen = Seen()
    timing = watching.Timing(watch_s=0.02, grace_s=0.01, relist_s=0.03, short_s=0.01, first_delay_s=0.001, ceiling_s=0.01)
    async with running(cluster, seen, timing=timing):
        cluster.put("lost")
        await seen.until(["lost"])


async def test_objects_are_found_by_a_label(cluster):
    """A group is always what has the label's value now, also after it was changed or removed."""
    cluster.put("a", id="1")
    cluster.put("b", id="1")
    cluster.put("c")
    seen = Seen()
    async with running(cluster, seen, group_by="id") as cache:
        assert {each["metadata"]["name"] for each in cache.group("1")} == {"a", "b"}
        cluster.send("MODIFIED", cluster.put("b", id="2"))
        cluster.send("DELETED", cluster.present["a"])
        await seen.until(["a", "b", "c", "b", "a"])
        assert cache.group("1") == ()
        assert [each["metadata"]["name"] for each in cache.group("2")] == ["b"]
        assert cache.group("3") == ()


async def test_the_same_version_twice_is_reported_once(cluster):
    """A list and a watch that overlap do not make work twice."""
    seen = Seen()
    obj = cluster.put("a")
    async with running(cluster, seen):
        cluster.send("ADDED", obj)
        cluster.send("ADDED", cluster.put("b"))
        await seen.until(["a", "b"])


@pytest.mark.virtual_time
async def test_its_sign_reports_a_silence_longer_than_a_watch_lasts(cluster):
    """As long as the server is heard of now and then all is well; when it falls silent the sign says so, until it is back."""
    timing = watching.Timing(watch_s=240, grace_s=15, relist_s=600)
    async with running(cluster, Seen(), timing=timing) as cache:
        assert cache.sign().waiting is None
        await anyio.sleep(200)
        cluster.send("ADDED", cluster.put("a"))
        await anyio.sleep(250)
        assert cache.sign().waiting is None
        cluster.refusals += [errors.Unavailable()] * 1000
        await anyio.sleep(400)
        first = cache.sign()
        assert first.waiting.startswith("silent for ")
        await anyio.sleep(1000)
        assert cache.sign().mark == first.mark
        cluster.refusals.clear()
        await anyio.sleep(60)
        assert cache.sign().waiting is None
