"""Runs the attacks inside a sandbox of this machine, made exactly as for a pod, and reports which of them succeeded."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from pathlib import Path

import msgspec

from dyff.cluster.pods import directory, environment, refusals, specs, starting, volumes
from dyff.cluster.pods.isolation import describing, machine, targets, users
from dyff.cluster.pods.shim import rlimits
from dyff.kernel import clock, settings

DEADLINE_S = 30.0
_LOOK_S = 0.01
_NAME = ".probe"
_PORT = 12000


class Examination(msgspec.Struct, frozen=True):
    """How a sandbox withstood the attacks. `attacks`: by name, None if it was refused, otherwise what it reached. `problem`: why there
    was no sandbox to attack; None if there was one.
    """

    attacks: dict[str, str | None] = {}
    problem: str | None = None

    @property
    def holds(self) -> bool:
        """Whether there was a sandbox, and every attack was refused."""
        return self.problem is None and bool(self.attacks) and not any(self.attacks.values())


def examine(sandboxes: describing.Sandboxes, pods: settings.Pods, root: Path, python: str) -> Examination:
    """Attack a sandbox. `root`: the directory of the pods, below which a folder is made for this. Blocks for a fraction of a second.

    Raises:
        OSError: the folder cannot be made.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = root / f"{_NAME}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        with targets.placed() as placed:
            return _attacked(sandboxes, pods, folder, python, placed)
    except refusals.Refused as refused:
        return Examination(problem=refused.message)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _attacked(sandboxes: describing.Sandboxes, pods: settings.Pods, folder: Path, python: str, placed: targets.Targets) -> Examination:
    config = starting.NodeConfig(str(folder / "server.lock"), python, pods, sandboxes)
    # Another server of this machine can try its tiers at the same moment. Processes are ended by control group, by user and by mark, so
    # all three must be this probe's own.
    name = secrets.token_hex(8)
    place = directory.Directory(folder, name)
    uid = users.choose(name, None, {}, pods.user_numbers, rlimits.live_users()) if sandboxes.own_users else None
    promised = directory.Intent(
        run=0,
        pod="probe",
        since=clock.iso(clock.SystemClock().now()),
        containers=[_attacker(sandboxes, place, placed, uid)],
        server_lock=config.server_lock,
        orphan_grace_s=DEADLINE_S,
        log_max_bytes=2**20,
        grace_s=0.0,
        deadline_s=DEADLINE_S / 2,
        port=_PORT,
        uid=uid,
        mark=place.mark,
    )
    starting.promise(place, promised, volumes.Contents())
    starting.spawn(config, place, 0)
    return _result(place, placed)


def _attacker(sandboxes: describing.Sandboxes, place: directory.Directory, placed: targets.Targets, uid: int | None) -> environment.Process:
    """The container of the attacks. It listens, as far as its sandbox knows, so that the way to its network is tried, too."""
    shim = machine.launcher()[0]
    inside = sandboxes.tier == "bubblewrap"
    code = (shim.target if inside else shim.source).removesuffix("/dyff/cluster/pods/shim")
    program = machine.inside(machine.python()) if inside else machine.python()
    image = settings.Image(command=(program, "-I", "-S", "-c", targets.BOOT, code, *placed.arguments()))
    container = specs.Container(name="probe", image="probe", ports=(specs.ContainerPort(_PORT),))
    pod = specs.Pod(specs.Metadata("probe", "probe"), specs.Spec((container,)))
    subject = describing.Subject(pod, container, image, place.place, _PORT, uid)
    confinement = describing.confine(sandboxes, subject)
    process = environment.process(pod, container, image, describing.place(sandboxes, place.place), _PORT)
    return msgspec.structs.replace(process, confinement=confinement, hint="")


def _result(place: directory.Directory, placed: targets.Targets) -> Examination:
    deadline = time.monotonic() + DEADLINE_S
    while (record := place.facts().record) is None or not record.finished:
        if time.monotonic() > deadline:
            return Examination(problem="the probe did not end in time")
        time.sleep(_LOOK_S)
    outcome = record.containers["probe"]
    log = place.path / "probe.log"
    lines = [line.partition(" ")[2] for line in log.read_text(errors="replace").splitlines()] if log.exists() else []
    if outcome.exit_code != 0 or not lines:
        return Examination(problem=f"{outcome.message.strip() or 'the probe ended early' + _signal(outcome)}{_shim_words(place)}")
    reached = placed.reached(lines[-1])
    tried = json.loads(lines[-1]) if "attacks" not in reached else {}
    return Examination(attacks={**dict.fromkeys(tried), **reached})


def _signal(outcome: directory.Outcome) -> str:
    return f" (signal {outcome.signal})" if outcome.signal else ""


def _shim_words(place: directory.Directory) -> str:
    """The last words of Bubblewrap, which name the cause."""
    path = place.path / "shim.log"
    words = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return f" ({words[-1]})" if words else ""
