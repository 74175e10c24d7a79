"""Pods whose program an account chose, in each tier, as the user who runs the tests (`test_as_regular_user.py` runs them as another)."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from dyff.cluster import port
from dyff.cluster.pods import specs
from dyff.cluster.pods.isolation import describing
from dyff.kernel import settings
from tests.pods.sandboxed import BUBBLEWRAP, HAS_PYTHON, IMAGES, IS_ROOT, LANDLOCK, PYTHON, TIERS

ECHO = "import http.server, os; http.server.test(http.server.SimpleHTTPRequestHandler, port=int(os.environ['PORT']), bind='127.0.0.1')"
CHECKOUT = Path(__file__).parents[2]
SCRATCH = {"volumes": [{"name": "scratch", "emptyDir": {}}]}


@TIERS
@pytest.mark.parametrize(("script", "want_code"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143)])
async def test_the_exit_code_is_the_programs(lab, sandboxes, script, want_code):
    """A sandbox passes on how its program ended; a signal counts as 128 plus its number."""
    async with lab.running(sandboxes, images=IMAGES):
        await lab.create(lab.a_pod("p", lab.container(script)))
        status = await lab.ended("p")
    assert lab.terminated(status)["exitCode"] == want_code


@TIERS
async def test_output_is_logged_and_shows_no_path_of_the_server(lab, sandboxes):
    """Both streams are in the log. In a sandbox with folders of its own, no path of the server is in anything that a program can print."""
    show = (
        "echo out; echo err >&2; pwd; env; cat /proc/1/cmdline /proc/1/environ /proc/self/cmdline /etc/passwd 2>/dev/null | tr '\\0' '\\n'"
    )
    async with lab.running(sandboxes, images=IMAGES):
        await lab.create(lab.a_pod("p", lab.container(show)))
        await lab.ended("p")
        lines = await lab.logs("p")
    assert lines[:2] == ["out", "err"]
    if sandboxes is BUBBLEWRAP:
        assert lines[2] == "/home/pod"
        assert [line for line in lines if any(each in line for each in (str(lab.root), str(CHECKOUT), BUBBLEWRAP.bwrap))] == []


async def test_only_its_own_processes_exist(lab):
    """In a sandbox with process IDs of its own, a program sees no other process than those of its pod."""
    async with lab.running(BUBBLEWRAP, images=IMAGES):
        await lab.create(lab.a_pod("p", lab.container("for each in /proc/[0-9]*; do cat $each/comm; done 2>/dev/null; id -u")))
        await lab.ended("p")
        *names, uid = await lab.logs("p")
    assert set(names) <= {"bwrap", "sh", "cat"}
    assert (int(uid) >= 1_900_000_000) if IS_ROOT else (int(uid) == 65534)


@TIERS
async def test_a_read_only_mount_cannot_be_changed(lab, sandboxes):
    """`readOnly` holds for files that are there, new ones, and their modes; a scratch volume, HOME and TMPDIR can be written to."""
    script = (
        "cat $DATA/a; (echo x > $DATA/a) 2>/dev/null && echo changed; (echo x > $DATA/b) 2>/dev/null && echo added;"
        "chmod 777 $DATA/a 2>/dev/null && echo opened; rm -f $DATA/a 2>/dev/null && echo removed;"
        "echo kept > $SCRATCH/x && cat $SCRATCH/x; echo h > $HOME/x && cat $HOME/x; echo t > $TMPDIR/x && cat $TMPDIR/x"
    )
    mounts = [{"name": "data", "mountPath": "/data", "readOnly": True}, {"name": "scratch", "mountPath": "/scratch"}]
    env = [{"name": "DATA", "value": "/data"}, {"name": "SCRATCH", "value": "/scratch"}]
    volumes = [{"name": "data", "configMap": {"name": "files"}}, {"name": "scratch", "emptyDir": {}}]
    async with lab.running(sandboxes, images=IMAGES):
        await lab.cluster.create(
            port.CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"a": "given\n"}}
        )
        await lab.create(lab.a_pod("p", lab.container(script, volumeMounts=mounts, env=env), volumes=volumes))
        await lab.ended("p")
        lines = await lab.logs("p")
    assert lines == ["given", "kept", "h", "t"]


async def test_a_volume_is_where_the_spec_mounts_it(lab):
    """In a sandbox with a file system of its own, `mountPath` and `workingDir` hold as in an image, and arguments are not changed."""
    container = lab.container(
        "pwd; ls -d /models/one", workingDir="/models/one", volumeMounts=[{"name": "scratch", "mountPath": "/models/one"}]
    )
    async with lab.running(BUBBLEWRAP, images=IMAGES):
        await lab.create(lab.a_pod("p", container, **SCRATCH))
        await lab.ended("p")
        assert await lab.logs("p") == ["/models/one", "/models/one"]


@pytest.mark.parametrize(
    "path", ["/usr/lib", "/", "/opt/dyff/python", "/etc/ssl", "relative", "/a/../usr", "/proc/1", "/dev", "/opt", "/lib64"]
)
async def test_a_mount_cannot_hide_the_sandbox(lab, path):
    """A mount at a place from which the sandbox itself is made is refused with one sentence: the last steps inside are made as root."""
    container = lab.container("true", volumeMounts=[{"name": "scratch", "mountPath": path}])
    async with lab.running(BUBBLEWRAP, images=IMAGES):
        await lab.create(lab.a_pod("p", container, **SCRATCH))
        status = await lab.ended("p")
    assert status["reason"] == "InvalidSpec"
    assert "mountPath" in status["message"]


@TIERS
@HAS_PYTHON
@pytest.mark.parametrize("mounts", [[], [{"name": "scratch", "mountPath": "/tmp"}]], ids=["plain", "with-a-volume-at-tmp"])
async def test_a_program_below_tmp_can_be_run(lab, sandboxes, mounts, tmp_path):
    """A program and the files that its command names are visible wherever they are, also below a folder that the pod has of its own."""
    installed = tmp_path / "installed"
    program, script, data = installed / "bin" / "program", installed / "script.py", installed / "data"
    program.parent.mkdir(parents=True)
    data.mkdir()
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    program.write_text(f'#!/bin/sh\nexec {PYTHON} -I -S "$@"\n')
    program.chmod(0o755)
    (data / "value").write_text("found")
    script.write_text(
        f"import os; print(open({str(data / 'value')!r}).read()); open('/tmp/mine' if {sandboxes is BUBBLEWRAP} else 'mine', 'w')"
    )
    image = settings.Image(command=(str(program), str(script)), readiness_path=None, paths=(str(data),))
    async with lab.running(sandboxes, images={"test/program": image}):
        container = {**lab.container(), "image": "test/program", "args": [], "volumeMounts": mounts}
        await lab.create(lab.a_pod("p", container, **SCRATCH))
        status = await lab.ended("p")
        assert (lab.terminated(status)["exitCode"], await lab.logs("p")) == (0, ["found"])


async def test_a_mount_in_a_mount_follows_no_link(lab, tmp_path):
    """A program that puts a link where its next run has a mount gets an error, and nothing is made where the link leads."""
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o777)
    script = f"[ -e /outer/begun ] && exit 0; touch /outer/begun; rm -rf /outer/inner; ln -s /oldroot{target} /outer/inner; exit 1"
    inner = [{"name": "outer", "mountPath": "/outer"}, {"name": "inner", "mountPath": "/outer/inner/deep"}]
    first = lab.container(script, volumeMounts=inner[:1])
    async with lab.running(BUBBLEWRAP, images=IMAGES):
        volumes = [{"name": "outer", "emptyDir": {}}, {"name": "inner", "emptyDir": {}}]
        pod = lab.a_pod("p", lab.container("true", volumeMounts=inner), init=(), volumes=volumes)
        pod["spec"]["initContainers"] = [{**first, "name": "first", "args": [script.replace("exit 1", "exit 0")]}]
        await lab.create(pod)
        status = await lab.ended("p")
    assert status["phase"] == "Failed"
    assert "cannot be prepared" in status["message"]
    assert list(target.iterdir()) == []


@TIERS
async def test_a_sub_path_follows_no_link(lab, sandboxes, tmp_path):
    """A `subPath` that a program replaced by a link to a folder of the server is an error, not a mount of that folder."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("the key")
    mount = {"name": "scratch", "mountPath": "/s"}
    pod = lab.a_pod(
        "p", lab.container("cat /s/key $S/key", volumeMounts=[{**mount, "subPath": "x"}], env=[{"name": "S", "value": "/s"}]), **SCRATCH
    )
    pod["spec"]["initContainers"] = [
        lab.container(f"ln -s {secret} $S/x", "first", volumeMounts=[mount], env=[{"name": "S", "value": "/s"}])
    ]
    async with lab.running(sandboxes, images=IMAGES):
        await lab.create(pod)
        status = await lab.ended("p")
    assert "the key" not in json.dumps(status)
    assert "cannot be prepared" in status["message"]


@TIERS
@HAS_PYTHON
async def test_the_grace_period_holds(lab, sandboxes):
    """A deleted pod gets SIGTERM, can finish its work, and its own exit code is recorded."""
    script = (
        "import os, signal; signal.signal(15, lambda *_: (os.write(1, b'bye\\n'), os._exit(0))); os.write(1, b'up\\n');"
        "\nwhile True: signal.pause()"
    )
    async with lab.running(sandboxes, images=IMAGES):
        pod = lab.a_pod(
            "p", {**lab.container(""), "image": "test/python", "args": [script]}, restartPolicy="Always", terminationGracePeriodSeconds=30
        )
        pod["metadata"]["finalizers"] = ["test/keep"]
        await lab.create(pod)
        await lab.said("p", "up")
        await lab.cluster.delete(port.POD, "p")
        await lab.released("p")
        status = await lab.status("p")
        lines = await lab.logs("p")
        await lab.cluster.patch(port.POD, "p", {"metadata": {"finalizers": []}})
    assert lines == ["up", "bye"]
    assert lab.terminated(status)["exitCode"] == 0


@TIERS
@HAS_PYTHON
async def test_a_service_can_be_reached(lab, sandboxes):
    """A pod that listens becomes ready by its probe. In a network of its own it has a door, and no port of the machine is open."""
    container = {**lab.container(""), "image": "test/python", "args": [ECHO], "ports": [{"containerPort": 8000}]}
    container |= {"readinessProbe": {"httpGet": {"path": "/", "port": 8000}}}
    images = {**IMAGES, "test/python": settings.Image(command=IMAGES["test/python"].command, readiness_path="/")}
    async with lab.running(sandboxes, images=images):
        await lab.create(lab.a_pod("p", container, restartPolicy="Always"))
        await lab.ready("p")
        annotations = (await lab.get("p"))["metadata"]["annotations"]
        assert (specs.LOCAL_SOCKET in annotations) == (sandboxes is BUBBLEWRAP)
        assert listens(int(annotations[specs.LOCAL_PORT])) == (sandboxes is LANDLOCK)


def listens(number: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) == 0


@TIERS
async def test_a_program_that_is_missing_is_named(lab, sandboxes):
    """The message of a program that cannot be started names it and the setting, not the sandbox."""
    async with lab.running(sandboxes, images={"test/sh": settings.Image(command=("/usr/bin/no-such-program",))}):
        await lab.create(lab.a_pod("p"))
        status = await lab.ended("p")
    assert lab.terminated(status)["reason"] == "StartError"
    assert (
        "'/usr/bin/no-such-program' cannot be started: No such file or directory. The setting pods.images"
        in lab.terminated(status)["message"]
    )


async def test_a_refusal_says_how_to_fix_it(lab):
    """Where no tier holds, a program of an account is not started: the pod waits with the reason and the fix."""
    async with lab.running(describing.Sandboxes(tier=None, reason="no tier holds; install bubblewrap"), images=IMAGES):
        await lab.create(lab.a_pod("p"))
        status = await lab.until("p", lambda status: lab.state(status).get("waiting", {}).get("reason") == "CreateContainerConfigError")
    assert lab.state(status)["waiting"]["message"] == "no tier holds; install bubblewrap"


async def test_each_pod_has_a_user_of_its_own(lab):
    """If the server is root, two pods at the same time have two users, none of the machine; otherwise none is chosen."""
    wait = lab.container("id -u; sleep 60")
    async with lab.running(BUBBLEWRAP, images=IMAGES):
        uids = [await lab.create(lab.a_pod(f"p{index}", wait)) for index in range(2)]
        for index in range(2):
            await lab.started(f"p{index}")
        users = [json.loads((lab.pods_dir / uid / "intent.json").read_text())["uid"] for uid in uids]
    assert len(set(users)) == (2 if IS_ROOT else 1)
    assert all((each is not None) == IS_ROOT for each in users)


async def test_a_private_home_is_no_obstacle(lab):
    """Data below a folder that only the server's user can enter is mounted all the same: mounts are made before the user changes."""
    os.chmod(lab.root, 0o700)
    async with lab.running(BUBBLEWRAP, images=IMAGES):
        container = lab.container("echo mine > /scratch/x && cat /scratch/x", volumeMounts=[{"name": "scratch", "mountPath": "/scratch"}])
        await lab.create(lab.a_pod("p", container, **SCRATCH))
        await lab.ended("p")
        assert await lab.logs("p") == ["mine"]


async def test_a_long_data_directory_is_no_obstacle(lab):
    """A pod's door works below a path that is longer than the address of a Unix socket can be."""
    lab.pods_dir = lab.root / ("long" * 40) / "pods"
    container = {**lab.container("sleep 60"), "ports": [{"containerPort": 8000}]}
    lab.pods_dir.mkdir(parents=True)
    async with lab.running(BUBBLEWRAP, images=IMAGES):
        await lab.create(lab.a_pod("p", container))
        await lab.started("p")
