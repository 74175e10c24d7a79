"""Starts a pod's shim: first promises the run, then starts it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from dyff.cluster.pods import directory, environment, images, lifecycle, probes, refusals, specs, templates, volumes
from dyff.cluster.pods.isolation import describing, users
from dyff.cluster.pods.secrets import Secrets
from dyff.cluster.pods.shim import door as shim_door
from dyff.cluster.pods.shim import main as shim
from dyff.cluster.pods.shim import rlimits
from dyff.kernel import clock, settings

SPAWN_TIMEOUT_S = 60.0
_STORAGE = "DYFF_STORAGE_URL"
_PACKAGE_ROOT = str(Path(__file__).parents[3])
_BOOT = (
    "import sys; sys.path.append(sys.argv[1]); from dyff.cluster.pods.shim import main; sys.exit(main.main(sys.argv[2], int(sys.argv[3])))"
)


class NodeConfig(msgspec.Struct, frozen=True):
    """Configuration shared by all pods of a machine. `python`: the interpreter of the shim and of our own images. `sandboxes`: how
    programs of accounts are confined. `storage_url`: where steps find the object store of this data directory; None if there is none.
    `environments`: the setting `analyses.environments`.
    """

    server_lock: str
    python: str
    settings: settings.Pods
    sandboxes: describing.Sandboxes
    storage_url: str | None = None
    environments: Mapping[str, str] = {}


def mappings(config: NodeConfig, pod: specs.Pod) -> dict[str, settings.Image]:
    """By container name, how its image is run. Blocks on the disk.

    Raises:
        Refused: an image has no mapping.
    """
    return {each.name: _mapping(config, pod, each) for each in (*pod.spec.init_containers, *pod.spec.containers)}


def _mapping(config: NodeConfig, pod: specs.Pod, container: specs.Container) -> settings.Image:
    try:
        return images.program(config.settings.images, config.python, pod, container, config.environments)
    except refusals.Refused as refused:
        raise refusals.Refused(refused.reason, refused.message, container.name) from refused


def user(config: NodeConfig, pod: specs.Pod, facts: directory.Facts, taken: Mapping[str, int]) -> int | None:
    """The user ID for the next run. None if the server is not root, or confines nothing. `taken`: of all pods, by uid. Blocks for some
    milliseconds before the first run.

    Raises:
        Refused: all are taken.
    """
    if not config.sandboxes.own_users:
        return None
    chosen = config.settings
    before = facts.intent.uid if facts.intent else None
    alive = rlimits.live_users() if before is None else ()
    return users.choose(pod.metadata.uid, before, taken, chosen.user_numbers, alive)


def door(place: directory.Directory, promised: directory.Intent) -> str | None:
    """The Unix socket of a pod whose main container has a network of its own and listens; None for others."""
    confinement = promised.containers[-1].confinement
    inside = confinement is not None and confinement.tier == "bubblewrap" and confinement.port is not None
    return str(place.path / shim_door.SOCKET) if inside else None


def intent(
    config: NodeConfig,
    pod: specs.Pod,
    place: directory.Directory,
    facts: directory.Facts,
    port: int | None,
    now: datetime,
    secrets: Secrets | None = None,
    uid: int | None = None,
) -> directory.Intent:
    """The description of the next run. Blocks on the disk.

    `secrets`: those from which the pod takes variables. `uid`: the user of its confined programs; None if the server is not root.

    Raises:
        Refused: the spec refers to something that does not exist, or to what this machine cannot confine.
    """
    known = mappings(config, pod)
    done = _done(pod, facts)
    todo = [each for each in pod.spec.init_containers if each.name not in done]
    since = facts.intent.since if facts.intent else clock.iso(now)
    first = directory.Intent(
        run=0,
        pod=pod.metadata.name,
        since=since,
        containers=[
            _process(config, describing.Subject(pod, each, known[each.name], place.place, port, uid), secrets) for each in (*todo, pod.main)
        ],
        server_lock=config.server_lock,
        orphan_grace_s=config.settings.orphan_grace_s,
        log_max_bytes=config.settings.logs_max_bytes,
        grace_s=pod.spec.termination_grace_period_seconds,
        deadline_s=lifecycle.remaining_s(pod, since, now),
        port=port,
        done=done,
        uid=uid,
        mark=place.mark,
        probe=probes.of(pod.main, known[pod.main.name], port),
    )
    if first.probe is not None:
        first = msgspec.structs.replace(first, probe=msgspec.structs.replace(first.probe, door=door(place, first)))
    if facts.intent is None:
        return first
    if facts.record is None:  # it was promised, but not started, where the data directory was before
        before = facts.intent
        return msgspec.structs.replace(first, run=before.run, restarts=before.restarts, failures=before.failures, last=before.last)
    last = facts.record.containers.get(pod.main.name)
    return msgspec.structs.replace(
        first,
        run=facts.intent.run + 1,
        restarts=facts.intent.restarts + (1 if last and not lifecycle.interrupted(facts.record) else 0),
        failures=lifecycle.failures(pod, facts.intent, facts.record),
        last=last or facts.intent.last,
    )


def _process(config: NodeConfig, subject: describing.Subject, secrets: Secrets | None) -> environment.Process:
    """One container. Only our own steps run unconfined, because they alone run nothing that an account chose."""
    pod, container, place, port = subject.pod, subject.container, subject.place, subject.port
    if images.is_step(pod, container):
        process = environment.process(pod, container, subject.image, _of_steps(place), port, secrets)
        process = msgspec.structs.replace(process, env=_with_store(config, process.env))
        ours = images.steps(config.python)
        return msgspec.structs.replace(process, step=process.argv[len(ours.command) :]) if subject.image == ours else process
    confinement = describing.confine(config.sandboxes, subject)
    if confinement is None:
        return environment.process(pod, container, subject.image, place, port, secrets)
    image = describing.program(config.sandboxes, subject.image)
    seen = environment.process(pod, container, image, describing.place(config.sandboxes, place), port, secrets)
    return msgspec.structs.replace(seen, confinement=confinement)


def _of_steps(place: environment.Place) -> environment.Place:
    """The folders of a step. Programs of accounts can have run in the pod before it, and left in their home what interpreters load."""
    return msgspec.structs.replace(place, work=place.steps)


def _with_store(config: NodeConfig, env: dict[str, str]) -> dict[str, str]:
    """The variables of a step. A Job only says that the object store is the one of the data directory, which can be moved."""
    if config.storage_url is None or not env.get(_STORAGE, "").startswith("file:"):
        return env
    return {**env, _STORAGE: config.storage_url}


def _done(pod: specs.Pod, facts: directory.Facts) -> dict[str, directory.Outcome]:
    """Init containers that have completed. They are not run again, since their volumes still exist."""
    if facts.record is None:
        return {}
    names = {each.name for each in pod.spec.init_containers}
    return {name: outcome for name, outcome in facts.record.containers.items() if name in names and outcome.exit_code == 0}


def promise(place: directory.Directory, promised: directory.Intent, contents: volumes.Contents) -> None:
    """Create the pod's directories and commit the intent. Blocks on the disk.

    Raises:
        Refused: the directories cannot be written.
    """
    try:
        place.prepare()
        volumes.write(place.place.volumes, contents)
        place.commit(promised)
    except OSError as error:
        raise refusals.Refused(refusals.CREATE, f"the pod's directory cannot be written: {error}") from error


def spawn(config: NodeConfig, place: directory.Directory, run: int, template: templates.Template | None = None) -> None:
    """Start the shim for a promised run. Blocks until the first program runs or has failed to start.

    Nothing happens if another shim of the pod lives, or if that run was started before. `template`: if given, the shim is forked from
    it; if that fails, or without it, the shim is an interpreter of its own.

    Raises:
        Refused: no shim could be started.
    """
    log = place.path / "shim.log"
    try:
        with open(log, "ab") as errors:
            code = template.request(place.path, run, errors.fileno()) if template else None
            if code is None:
                code = _execute(config, place, run, errors.fileno())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise refusals.Refused(refusals.CREATE, f"the pod's supervisor cannot be started: {error}") from error
    if code not in (shim.STARTED, shim.BUSY, shim.ALREADY_RUN, shim.OTHER_INTENT):
        words = log.read_text(errors="replace")[-1000:]
        raise refusals.Refused(refusals.CREATE, f"the pod's supervisor ended with code {code}: {words}")


def _execute(config: NodeConfig, place: directory.Directory, run: int, errors: int) -> int:
    """Start the shim in an interpreter of its own; returns one of the codes of `shim.main`."""
    command = [config.python, "-I", "-S", "-c", _BOOT, _PACKAGE_ROOT, str(place.path), str(run)]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        # This identifies a pod's processes, including its shim, even if the directory is lost.
        env={"HOME": str(place.place.work)},
        cwd="/",
        start_new_session=True,
        timeout=SPAWN_TIMEOUT_S,
        check=False,
    )
    return done.returncode
