"""Analyses from their resource to their end on the local cluster, with code that does what it must not, in each tier."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from dyff.cluster import conditions, port
from dyff.cluster.embedded import EmbeddedCluster, LocalControllers
from dyff.cluster.embedded.controllers import jobs
from dyff.cluster.pods import kubelet
from dyff.cluster.pods.isolation import describing
from dyff.entities import registry
from dyff.kernel import analysis_settings, clock, ids, images, pod_limits, settings
from dyff.operator import role
from tests import waiting
from tests.planning import world
from tests.pods.sandboxed import HAS_PYTHON, PYTHON, TIERS

pytestmark = HAS_PYTHON
DEADLINE_S = 30.0
KIND = port.custom(registry.RESOURCE_BY_KIND["Analysis"])
NAME = f"analysis-{world.ID}"
STEPS = settings.Image(command=(sys.executable, str(Path(__file__).with_name("analysis_steps.py"))), readiness_path=None)
LIMITS = pod_limits.PodLimits(disk_bytes=16 * 2**20)
BEGIN = "import json, os, socket, subprocess, sys, time\nplace = dict(zip(sys.argv[1::2], sys.argv[2::2]))\ntried = {}\n"
ATTEMPT = """
def attempt(name, what):
    try:
        tried[name] = repr(what())
    except OSError as error:
        tried[name] = None
"""
END = "open(place['--out'] + '/answer', 'w').write(json.dumps(tried))\n"


class Place:
    """A running cluster with its operator."""

    def __init__(self, cluster):
        self.cluster = cluster

    async def ends(self, program, codes=None, **spec):
        """Create an analysis with this program, and return the condition with which it ends. `codes`: with which our steps end."""
        values = {"program": program, **(codes or {})}
        arguments = [{"keyword": keyword, "value": str(value)} for keyword, value in values.items()]
        await self.cluster.create(KIND, world.an_analysis(arguments=arguments, **spec))
        with anyio.move_on_after(DEADLINE_S):
            while not conditions.finished(found := await self.cluster.get(KIND, NAME)):
                await waiting.a_moment()
            return next(conditions.get(found, each) for each in ("Complete", "Failed") if conditions.is_true(found, each))
        raise AssertionError(f"{found.get('status')} {[each.get('status') for each in await self.pods()]}")

    async def pods(self):
        return (await self.cluster.list(port.POD)).items

    async def said(self, container):
        """What a container of the newest pod has printed."""
        newest = max(await self.pods(), key=lambda pod: pod["metadata"]["creationTimestamp"])
        return [line.message for line in await self.cluster.logs(newest["metadata"]["name"], container=container)]

    async def answer(self):
        """What the program has written, as the step that stores has found it."""
        line = next(each for each in await self.said("step") if each.startswith("answer: "))
        return json.loads(line.removeprefix("answer: "))


@asynccontextmanager
async def running(path, sandboxes=describing.UNCONFINED, environments=None, **analyses):
    """A cluster that runs analyses. `environments`: by image; None for the system's Python."""
    time = clock.SystemClock()
    known = {analysis_settings.DEFAULT_IMAGE: PYTHON} if environments is None else environments
    async with (
        EmbeddedCluster.open(path / "cluster.sqlite", clock=time, ids=ids.RandomIds()) as cluster,
        anyio.create_task_group() as group,
    ):
        pods, bounded = settings.Pods(images={images.STEPS: STEPS}), msgspec.structs.replace(sandboxes, limits=LIMITS)
        node = kubelet.Kubelet(cluster, cluster.pods_dir, pods, time, sandboxes=bounded, environments=known)
        await group.start(LocalControllers(cluster, clock=time, delays=jobs.Delays(0.01, 0.01)).run)
        await group.start(node.run)

        async def operate(task_status):
            chosen = analysis_settings.Analyses(**analyses)
            env = {"DYFF_STORAGE_URL": f"file://{path}/store"}
            await role.run(cluster, settings=settings.Operator(resync_s=3600), storage_env=env, analyses=chosen, task_status=task_status)

        await group.start(operate)
        try:
            yield Place(cluster)
        finally:
            with anyio.CancelScope(shield=True):
                await node.stop_all(10)
            group.cancel_scope.cancel()


@TIERS
async def test_a_program_reads_its_inputs_and_writes_its_output(tmp_path, sandboxes):
    """Its output reaches the step that stores, and what it prints is its log."""
    program = f"{BEGIN}tried['input'] = open(place['--in'] + '/input').read()\nprint('at work')\n{END}"
    async with running(tmp_path, sandboxes) as there:
        found = await there.ends(program)
        assert (found["type"], found["message"]) == ("Complete", "its results are stored")
        assert await there.answer() == {"input": "given\n"}
        assert await there.said("run") == ["at work"]


@TIERS
async def test_a_program_reaches_nothing_of_the_server(tmp_path, sandboxes):
    """No file, no variable, no process and no port of the server, no other pod's folder, and nothing outside its own folders."""
    secret = tmp_path / "key"
    secret.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = f"""{BEGIN}{ATTEMPT}
attempt('key', lambda: open({str(secret)!r}).read())
attempt('folder', lambda: os.listdir({str(tmp_path)!r}))
attempt('manifest', lambda: [each for each in os.walk(os.path.dirname(place['--in'])) if 'manifest.json' in each[2]] or open(''))
attempt('variables', lambda: open(f'/proc/{os.getpid()}/environ').read())
attempt('input', lambda: open(place['--in'] + '/input', 'w').write('changed'))
attempt('runner', lambda: open(place['--in'] + '/.dyff/runner/more.py', 'w').write('changed'))
attempt('removed', lambda: os.remove(place['--in'] + '/input'))
attempt('above', lambda: open(os.path.dirname(place['--in']) + '/more', 'w').write('x'))
attempt('network', lambda: socket.create_connection(('127.0.0.1', {listener.getsockname()[1]}), 2).recv(1))
attempt('outside', lambda: socket.create_connection(('192.0.2.1', 80), 2).recv(1))
attempt('listening', lambda: socket.create_server(('0.0.0.0', 0)).getsockname() and {sandboxes.tier == "bubblewrap"} and open(''))
tried['dyff'] = sorted(name for name in os.environ if name.startswith('DYFF'))
tried['store'] = 'store' in ' '.join(os.environ.values())
{END}"""
        async with running(tmp_path, sandboxes) as there:
            found = await there.ends(program)
            assert found["type"] == "Complete", found
            answer = await there.answer()
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()
    answer.pop("variables")  # its own
    assert {name: what for name, what in answer.items() if what} == {}


@TIERS
async def test_nothing_of_a_program_outlives_it(tmp_path, sandboxes):
    """A process that leaves its session does not write while the output is stored, nor afterwards."""
    program = f"""{BEGIN}
pid = os.fork()
if pid == 0:
    try:
        os.setsid()
    except OSError:
        pass
    open(place['--out'] + '/pid', 'w').write('started')
    while True:
        time.sleep(0.05)
while not os.path.exists(place['--out'] + '/pid'):
    time.sleep(0.01)
{END}"""
    async with running(tmp_path, sandboxes) as there:
        assert (await there.ends(program))["type"] == "Complete"
        assert "pid: started" in await there.said("step")
        mark = str(tmp_path).encode()
        left = [each for each in Path("/proc").iterdir() if each.name.isdecimal() and _names(each, mark) and int(each.name) != os.getpid()]
        assert [each.name for each in left if b"runner" in (each / "cmdline").read_bytes()] == []


def _names(process, mark):
    try:
        return mark in (process / "cmdline").read_bytes()
    except OSError:
        return False


@TIERS
async def test_what_it_leaves_at_home_is_not_loaded_by_our_steps(tmp_path, sandboxes):
    """The step that runs after it has a home and a working folder of its own, in which nothing is."""
    program = f"""{BEGIN}
site = os.path.join(os.environ['HOME'], '.local/lib/python3.11/site-packages')
os.makedirs(site)
for name in ('usercustomize.py', 'json.py', '../../../../json.py', '../../../../.gitconfig'):
    open(os.path.join(site, name), 'w').write('raise SystemExit(99)')
open(os.path.join(site, 'x.pth'), 'w').write('import os; os._exit(99)')
{END}"""
    async with running(tmp_path, sandboxes) as there:
        found = await there.ends(program)
        assert found["type"] == "Complete", found
        assert "home: [], here: [], has ['DYFF_STORAGE_URL', 'DYFF_ATTEMPT']" in await there.said("step")


FAILURES = {
    "ends": ("raise SystemExit('the runner broke')", "RunFailed", "the runner broke"),
    "fills its memory": ("data = []\nwhile True: data.append(bytearray(b'x' * 2**22))", "OutOfMemory", "analyses.memory"),
    "fills the disk": (
        "import itertools\nfor n in itertools.count():\n    open(f'{place[\"--out\"]}/{n}', 'wb').write(bytes(2**20)); time.sleep(0.01)",
        "LimitExceeded",
        "pods.limits.disk_bytes",
    ),
    "is killed": ("os.kill(os.getpid(), 9)", "RunFailed", "exit code 137"),
}


@pytest.mark.slow
@TIERS
@pytest.mark.parametrize(("program", "want_reason", "want_message"), FAILURES.values(), ids=FAILURES)
async def test_a_program_that_dies_is_tried_once_more(tmp_path, sandboxes, program, want_reason, want_message):
    """Two attempts, then a reason and the last words of its log."""
    async with running(tmp_path, sandboxes, memory="128Mi") as there:
        found = await there.ends(f"{BEGIN}print('computing', flush=True)\n{program}")
        assert (found["type"], found["reason"]) == ("Failed", want_reason), found
        assert want_message in found["message"]
        assert len(await there.pods()) == 2
        assert "computing" in await there.said("run")


@pytest.mark.parametrize(
    ("codes", "want", "want_attempts"),
    [
        ({"fetch": 65}, "FetchFailed", 1), ({"fetch": 75}, "FetchFailed", 2), ({"store": 10}, "RunFailed", 1),
        ({"store": 11}, "OutputInvalid", 1), ({"store": 75}, "StoreFailed", 2),
    ],
)  # fmt: skip
async def test_each_step_decides_whether_it_is_tried_again(tmp_path, codes, want, want_attempts):
    """A deleted module stays deleted, and wrong output stays wrong; a store that does not answer is asked again."""
    async with running(tmp_path) as there:
        found = await there.ends(BEGIN, codes)
        assert found["reason"] == want
        assert f"the last words of {next(iter(codes))}-analysis" in found["message"]
        assert len(await there.pods()) == want_attempts


@pytest.fixture
def environment(tmp_path):
    """The interpreter of a virtual environment with a package of its own."""
    made = tmp_path / "environments" / "mine"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(made)], check=True)
    [packages] = made.glob("lib/python*/site-packages")
    (packages / "its_package.py").write_text("NAME = 'mine'")
    return made / "bin" / "python"


@TIERS
async def test_a_method_runs_in_the_environment_that_its_image_names(tmp_path, sandboxes, environment):
    """Another virtual environment is visible, with its packages, and cannot be changed."""
    image = "example.org/team/environment@sha256:" + "0" * 64
    program = f"""{BEGIN}{ATTEMPT}
import its_package
tried['name'] = its_package.NAME
attempt('changed', lambda: open(its_package.__file__, 'w').write('x'))
{END}"""
    known = {"example.org/team/environment": str(environment)}
    async with running(tmp_path, sandboxes, known) as there:
        found = await there.ends(program, image=image)
        assert found["type"] == "Complete", found
        assert await there.answer() == {"name": "mine", "changed": None}


REFUSED = {
    "an image without an environment": ("example.org/other@sha256:" + "0" * 64, ("example.org/other", "analyses.environments")),
    "our steps": (images.STEPS, (images.STEPS, "analyses.environments")),
    "the steps of an earlier release": ("dyff/workflows/steps", ("dyff/workflows/steps", "analyses.environments")),
    "the mock service": ("dyff/workflows/inferenceservice-mock", ("inferenceservice-mock", "analyses.environments")),
}


@pytest.mark.parametrize(("image", "want"), REFUSED.values(), ids=REFUSED)
async def test_no_image_makes_a_method_one_of_our_steps(tmp_path, image, want):
    """A name that means something elsewhere means nothing here: the analysis ends, names its image and says what to set."""
    async with running(tmp_path) as there:
        found = await there.ends(BEGIN, image=image)
        assert found["reason"] == "ImageNotRunnable"
        assert f"the image {image} cannot be run" in found["message"]
        assert all(each in found["message"] for each in want)
