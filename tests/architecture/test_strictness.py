"""What fails a test that blocks its loop or leaves something can see all of these."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from dyff.kernel import locks
from dyff.objects import tree
from tests import blocking, leaks


@pytest.fixture
def short(monkeypatch):
    """What stays is not waited for."""
    monkeypatch.setattr(leaks, "GRACE", 0.05)


async def test_a_call_that_waits_is_seen_even_if_its_error_is_caught():
    """A sleep, a lock that is held and another process's end block the loop, also when a test makes the call."""
    held = threading.Lock()
    held.acquire()
    process = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    # real time: what must be found is a call that takes it
    for call in (lambda: time.sleep(0.001), lambda: held.acquire(timeout=0.01), lambda: process.wait(0.01)):
        with contextlib.suppress(Exception):
            call()
        assert len(blocking.taken()) == 1
    await asyncio.to_thread(process.communicate)


async def test_files_are_forbidden_to_dyff_on_a_loop_and_allowed_to_tests(tmp_path):
    """A test prepares a file; Dyff reads and writes in threads, and where the list of what is allowed says why not."""
    (tmp_path / "file").write_bytes(b"x")
    with locks.alone(tmp_path / "lock", "in use"):
        pass
    assert blocking.taken() == []
    tree.make_directory(tmp_path / "a" / "b")
    assert blocking.taken() == []
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
    asyncio.get_running_loop().call_soon(tree.make_directory, tmp_path / "c" / "d")
    await asyncio.sleep(0)
    assert [type(each) for each in errors] == [blocking._Recorded]
    assert len(blocking.taken()) == 1
    await asyncio.to_thread(tree.make_directory, tmp_path / "c" / "d")
    assert blocking.taken() == []


async def test_a_coroutine_of_dyff_may_not_use_files_though_a_test_calls_it(tmp_path):
    """What a test awaits is Dyff's work, as it would be in a server."""
    name = str(tmp_path / "file")
    namespace: dict[str, Any] = {"os": os}
    exec(compile("async def made(name):\n    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))", tree.__file__, "exec"), namespace)
    with contextlib.suppress(Exception):
        await namespace["made"](name)
    assert len(blocking.taken()) == 1


async def test_a_task_that_is_left_is_named():
    """A task that ends when it gets its turn is not left; one that waits is."""
    quick = asyncio.create_task(asyncio.sleep(0))
    assert await leaks.tasks_left() == []
    assert quick.done()
    left = asyncio.create_task(asyncio.Event().wait(), name="forgotten")
    assert [each.partition(":")[0] for each in await leaks.tasks_left()] == ["task forgotten"]
    left.cancel()


@pytest.mark.usefixtures("short")
def test_a_thread_that_is_left_is_named():
    """One that ends by itself is waited for."""
    before, proceed = leaks.present(), threading.Event()
    thread = threading.Thread(target=proceed.wait, name="forgotten")
    thread.start()
    (found,) = leaks.left_since(before)
    assert found.startswith("thread forgotten\n")
    assert "in wait" in found
    proceed.set()
    thread.join()
    assert leaks.left_since(before) == []


@pytest.mark.usefixtures("short")
def test_a_process_that_is_left_is_named():
    """With its command, until it has ended."""
    before = leaks.present()
    process = subprocess.Popen([sys.executable, "-c", "input('forgotten')"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    (found,) = leaks.left_since(before)
    assert found.startswith(f"process {process.pid}: ")
    assert "forgotten" in found
    process.communicate()
    assert leaks.left_since(before) == []
