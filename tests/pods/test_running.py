from __future__ import annotations

import os
import sys

import pytest

from dyff.cluster import port


@pytest.mark.parametrize(
    ("script", "want_phase", "want_code", "want_reason"),
    [
        ("exit 0", "Succeeded", 0, "Completed"),
        ("exit 3", "Failed", 3, "Error"),
        ("kill -TERM $$", "Failed", 143, "Error"),
    ],
)
async def test_the_exit_code_decides(lab, script, want_phase, want_code, want_reason):
    """A pod succeeds with exit code 0 and fails with any other; a signal counts as 128 plus its number."""
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container(script)))
        status = await lab.ended("p")
    assert status["phase"] == want_phase
    assert lab.terminated(status)["exitCode"] == want_code
    assert lab.terminated(status)["reason"] == want_reason


async def test_a_failure_says_what_was_written_last(lab):
    """The end of the output is the message of a container that failed, and is found in the pod's own message."""
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container("echo first; echo 'the disk is on fire' >&2; exit 1")))
        status = await lab.ended("p")
    assert lab.terminated(status)["message"] == "first\nthe disk is on fire"
    assert "exit code 1" in status["message"]
    assert "the disk is on fire" in status["message"]


async def test_the_environment_is_clean(lab, monkeypatch):
    """A pod sees nothing of the server's environment: only a path, its own directories, a language and what its spec says."""
    monkeypatch.setenv("DYFF_SECRET", "do not tell")
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", lab.container("/usr/bin/env", env=[{"name": "MINE", "value": "yes"}])))
        await lab.ended("p")
        lines = dict(line.split("=", 1) for line in await lab.logs("p"))
    for set_by_shell in ("PWD", "OLDPWD", "SHLVL", "_"):
        lines.pop(set_by_shell, None)
    home = lab.pods_dir / uid
    assert lines == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home / "work"),
        "TMPDIR": str(home / "tmp"),
        "LANG": "C.UTF-8",
        "HOSTNAME": "p",
        "MINE": "yes",
    }


async def test_a_pod_works_in_its_own_directory(lab):
    """The working directory is the pod's, and no descriptor of the shim or the server is open in it."""
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", lab.container("pwd; echo $TMPDIR; ls /proc/self/fd | wc -l")))
        await lab.ended("p")
        home = lab.pods_dir / uid
        # The fourth is the one with which ls reads the directory.
        assert await lab.logs("p") == [str(home / "work"), str(home / "tmp"), "4"]


async def test_both_streams_are_logged_in_order_with_times(lab):
    """Standard output and error come as one stream of lines whose times rise, a last line without its end included."""
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container("for i in 1 2 3; do echo out $i; echo err $i >&2; done; printf 'no end'")))
        await lab.ended("p")
        lines = await lab.cluster.logs("p")
        later = await lab.cluster.logs("p", since=lines[3].timestamp)
    assert [line.message for line in lines] == ["out 1", "err 1", "out 2", "err 2", "out 3", "err 3", "no end"]
    times = [line.timestamp for line in lines]
    assert times == sorted(set(times))
    assert later == lines[4:]


async def test_logs_are_bounded_and_keep_the_end(lab):
    """A log that grows too long loses its beginning, never its end, and stays below the limit."""
    async with lab.running(logs_max_bytes=100_000):
        uid = await lab.create(lab.a_pod("p", lab.container("seq 1 20000")))
        await lab.ended("p")
        numbers = [int(line) for line in await lab.logs("p")]
    assert numbers == list(range(numbers[0], 20001))
    assert 500 < len(numbers) < 20000
    assert (lab.pods_dir / uid / "main.log").stat().st_size < 200_000


async def test_too_much_memory_ends_a_pod(lab):
    """The memory limit holds for a container's processes together: over it the pod is killed as OOMKilled with code 137."""
    hungry = "import time; x = b'1' * 80_000_000; time.sleep(60)"
    script = f'{sys.executable} -c "{hungry}" & {sys.executable} -c "{hungry}" & wait'
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container(script, resources={"limits": {"memory": "120Mi"}})))
        status = await lab.ended("p")
    assert (lab.terminated(status)["reason"], lab.terminated(status)["exitCode"]) == ("OOMKilled", 137)
    assert "memory limit of 125829120 bytes" in lab.terminated(status)["message"]


async def test_memory_below_the_limit_is_fine(lab):
    """Files that are only mapped do not count, as for Kubernetes, which can drop them."""
    program = (
        "import mmap, time; f = open('big', 'w+b'); f.truncate(200_000_000); m = mmap.mmap(f.fileno(), 0); "
        "[m[i] for i in range(0, 200_000_000, 4096)]; time.sleep(0.6)"
    )
    script = f'{sys.executable} -c "{program}"'
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container(script, resources={"limits": {"memory": "60Mi"}})))
        status = await lab.ended("p")
    assert status["phase"] == "Succeeded", status


async def test_a_deadline_ends_a_pod(lab):
    """A pod that runs longer than its activeDeadlineSeconds fails as DeadlineExceeded, even if it then ends with code 0."""
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container("trap 'exit 0' TERM; sleep 60 & wait"), activeDeadlineSeconds=1))
        status = await lab.ended("p")
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")


async def test_a_program_that_is_not_there(lab):
    """A program that cannot be executed is a StartError that names it, the reason and the setting."""
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container(image="test/absent")))
        status = await lab.ended("p")
    assert (lab.terminated(status)["reason"], lab.terminated(status)["exitCode"]) == ("StartError", 128)
    assert lab.terminated(status)["message"] == (
        "'/no/such/program' cannot be started: No such file or directory. The setting pods.images says how the image 'test/absent' is run"
    )


async def test_a_working_directory_that_is_not_there(lab):
    """A missing working directory is distinguished from a missing program."""
    volume = {"volumeMounts": [{"name": "v", "mountPath": "/v"}], "workingDir": "/v/none"}
    async with lab.running():
        uid = await lab.create(lab.a_pod("p", lab.container(**volume), volumes=[{"name": "v", "emptyDir": {}}]))
        status = await lab.ended("p")
    directory = lab.pods_dir / uid / "volumes" / "v" / "none"
    assert f"No such file or directory (its working directory {directory})" in lab.terminated(status)["message"]


async def test_an_unknown_image(lab):
    """A pod whose image has no mapping stays Pending and says exactly what to add to the settings."""
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container(image="registry.example.com/team/model@sha256:" + "0" * 64)))
        status = await lab.until("p", lambda status: "waiting" in lab.state(status))
        assert await lab.cluster.get(port.POD, "p")
    waiting = lab.state(status)["waiting"]
    assert (status["phase"], waiting["reason"]) == ("Pending", "ErrImageNeverPull")
    assert '    registry.example.com/team/model:\n      command: ["/path/to/program", "--port", "{port}"]' in waiting["message"]


async def test_init_containers_run_in_order_before_the_main_one(lab):
    """Init containers run one after the other, then the main container; they share the pod's volumes."""
    mount = [{"name": "shared", "mountPath": "/shared"}]

    def step(name: str) -> port.Object:
        script = f"echo {name} >> $0; echo {name}"
        return {**lab.container(script, name, volumeMounts=mount), "args": [script, "/shared/order"]}

    main = {**lab.container("", volumeMounts=mount), "args": ["cat $0", "/shared/order"]}
    async with lab.running():
        await lab.create(lab.a_pod("p", main, init=(step("one"), step("two")), volumes=[{"name": "shared", "emptyDir": {}}]))
        status = await lab.ended("p")
        assert await lab.logs("p") == ["one", "two", "one", "two"]
    assert status["phase"] == "Succeeded"
    assert [each["state"]["terminated"]["exitCode"] for each in status["initContainerStatuses"]] == [0, 0]
    assert lab.condition(status, "Initialized")["status"] == "True"


async def test_a_failed_init_container_ends_the_pod(lab):
    """When an init container fails, nothing after it is run and the pod fails with its message."""
    init = (lab.container("echo no data; exit 7", "fetch"), lab.container("echo never", "never"))
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container("echo never"), init=init))
        status = await lab.ended("p")
        assert await lab.logs("p") == ["no data"]
    assert status["phase"] == "Failed"
    assert "exit code 7: no data" in status["message"]
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
    assert lab.state(status)["waiting"]["reason"] == "PodInitializing"


async def test_config_maps_are_files(lab):
    """A ConfigMap volume holds the map's values as files; a pod whose map is missing waits for it and says so."""
    mount = [{"name": "manifest", "mountPath": "/dyff/manifest"}]
    main = {**lab.container("", volumeMounts=mount), "args": ["cat $0", "/dyff/manifest/manifest.json"]}
    async with lab.running():
        await lab.create(lab.a_pod("p", main, volumes=[{"name": "manifest", "configMap": {"name": "c"}}]))
        status = await lab.until("p", lambda status: "waiting" in lab.state(status))
        assert lab.state(status)["waiting"]["message"] == "volume manifest: there is no ConfigMap 'c' yet"
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"manifest.json": '{"a": 1}'}}
        await lab.cluster.create(port.CONFIG_MAP, config)
        await lab.ended("p")
        assert await lab.logs("p") == ['{"a": 1}']


async def test_nothing_of_a_container_outlives_it(lab):
    """When a container's program ends, everything that it started ends too, also what made itself a session of its own."""
    script = (
        "setsid sleep 600 & echo $! > pids; sleep 600 & echo $! >> pids; (setsid sh -c 'echo $$ >> pids; exec sleep 600' &) ; "
        "while [ $(wc -l < pids) -lt 3 ]; do sleep 0.01; done; cat pids"
    )
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container(script)))
        await lab.ended("p")
        pids = [int(line) for line in await lab.logs("p")]
    assert len(pids) == 3
    assert [pid for pid in pids if lab.alive(pid)] == []


async def test_a_pod_has_no_terminal_and_no_input(lab):
    """Standard input is empty and there is a new session, so that Ctrl-C at the server does not reach a pod."""
    async with lab.running():
        await lab.create(lab.a_pod("p", lab.container("cat; echo $$ $(cut -d' ' -f6 /proc/$$/stat)")))
        await lab.ended("p")
        pid, session = (await lab.logs("p"))[0].split()
    assert pid == session
    assert int(session) != os.getsid(0)
