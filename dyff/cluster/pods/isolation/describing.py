"""Describes the sandbox of one container: what it sees, as whom it runs, what it may use."""

from __future__ import annotations

import functools
import os
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from dyff.cluster.pods import confinement, environment, refusals, specs
from dyff.cluster.pods.confinement import Bind, Confinement
from dyff.cluster.pods.isolation import machine
from dyff.cluster.pods.shim import seccomp
from dyff.kernel import pod_limits, settings

OURS = ("-P", "-m", "dyff.workflows")
_BOOT = (
    "import sys, types; folder, packages = sys.argv[1:3]; del sys.argv[1:3]; sys.path.append(packages); "
    "sys.modules['dyff'] = dyff = types.ModuleType('dyff'); dyff.__path__ = [folder]; import runpy; "
    "runpy.run_module('dyff.workflows', run_name='__main__', alter_sys=True)"
)
"""Starts our own program with our packages only. The interpreter is isolated, so that no variable of an account changes what it imports,
and the folder in which our package is, which can have other things in it, need not be readable.
"""


class Sandboxes(msgspec.Struct, frozen=True, kw_only=True):
    """How this server confines programs of accounts.

    `tier`: None if no tier holds; then `reason` says why and how to fix it, and such programs are refused. `bwrap`: None unless the tier
    is bubblewrap. `own_users`: each pod gets a user of its own, since the server is root. `hidden`: folders and files of the server,
    which no sandbox may show. `limits`: the setting `pods.limits`.
    """

    tier: Literal["bubblewrap", "landlock", "none"] | None
    reason: str
    bwrap: str | None = None
    own_users: bool = False
    hidden: tuple[str, ...] = ()
    limits: pod_limits.PodLimits = pod_limits.PodLimits()


UNCONFINED = Sandboxes(tier="none", reason="the setting pods.isolation is none")


class Subject(msgspec.Struct, frozen=True):
    """A container of a pod, and how its image is run. `port`: where it listens, None if it does not. `uid`: the pod's user, None if the
    server is not root.
    """

    pod: specs.Pod
    container: specs.Container
    image: settings.Image
    place: environment.Place
    port: int | None
    uid: int | None


def place(known: Sandboxes, local: environment.Place) -> environment.Place:
    """The folders of a pod as a confined program sees them."""
    if known.tier != "bubblewrap":
        return local
    return environment.Place(Path(confinement.HOME), Path(confinement.TMP), Path("/"), as_mounted=True)


def program(known: Sandboxes, image: settings.Image) -> settings.Image:
    """How an image is run inside a sandbox. Our own program gets nothing but its code."""
    if known.tier not in ("bubblewrap", "landlock"):
        return image
    if image.command[1:4] != OURS:
        return msgspec.structs.replace(image, command=(machine.plain(image.command[0]), *image.command[1:]))
    code = [bind.target if known.tier == "bubblewrap" else bind.source for bind in machine.own_code()]
    return msgspec.structs.replace(image, command=(_python(known), "-I", "-S", "-c", _BOOT, *code, *image.command[4:]))


def confine(known: Sandboxes, subject: Subject) -> Confinement | None:
    """The sandbox of a container whose program an account chose; None if the settings want none.

    Raises:
        Refused: no tier holds on this machine, or the spec asks for what a sandbox cannot give; the message says what and why.
    """
    if known.tier == "none":
        return None
    if known.tier is None:
        raise refusals.Refused(refusals.CONFIG, known.reason)
    system = _system(known, subject.image)
    _check_shown(known, subject.image, system)
    return Confinement(
        tier=known.tier,
        uid=subject.uid,
        system=system,
        links=machine.links() if known.tier == "bubblewrap" else [],
        volumes=_volumes(known, subject, system),
        limits=_limits(known.limits, subject.container),
        filter=_filter(known.tier, _has_sockets(known, subject), subject.uid is not None),
        python=_python(known),
        bwrap=known.bwrap,
        network=subject.image.network,
        connect=list(subject.image.connect),
        port=subject.port,
    )


@functools.cache
def _filter(tier: str, network: bool, own_user: bool) -> str:
    """The filter of system calls, made once for all pods."""
    return seccomp.program(tier, network=network, own_user=own_user).hex()


def _has_sockets(known: Sandboxes, subject: Subject) -> bool:
    """In a network of its own, sockets lead nowhere else."""
    return known.tier == "bubblewrap" or subject.port is not None or subject.image.network == "outside" or bool(subject.image.connect)


def _python(known: Sandboxes) -> str:
    found = machine.python()
    return machine.inside(found) if known.tier == "bubblewrap" else found


def _system(known: Sandboxes, image: settings.Image) -> list[Bind]:
    own = machine.own_code() if image.command[1:4] == OURS else machine.launcher()
    wanted = [*machine.system(), *machine.interpreter(), *own, *_program(image), *(Bind(path, path) for path in image.paths)]
    if known.tier == "bubblewrap":
        return machine.without_inner(wanted)
    return [Bind(each.source, each.source) for each in wanted]


def _program(image: settings.Image) -> list[Bind]:
    """What the command itself names: its program, and files among its words, such as a script."""
    if image.command[1:4] == OURS:
        return []
    files = [word for word in image.command[1:] if os.path.isabs(word) and os.path.isfile(word)]
    return [*machine.of_program(image.command[0]), *(Bind(path, path) for path in files if not machine.is_of_system(path))]


def _check_shown(known: Sandboxes, image: settings.Image, system: list[Bind]) -> None:
    """Refuse to show what the server keeps for itself, whether the settings say so or its program lies next to it."""
    for path in image.paths:
        if not os.path.exists(path):
            raise refusals.Refused(refusals.CONFIG, f"pods.images: the path {path!r} of the image is missing on this machine")
    for path in (bind.source for bind in system):
        hidden = machine.overlaps(os.path.realpath(path), known.hidden)
        if hidden is not None:
            raise refusals.Refused(
                refusals.CONFIG,
                f"the program's path {path!r} would show {hidden}, which belongs to the server; list smaller folders in pods.images",
            )


def _volumes(known: Sandboxes, subject: Subject, system: list[Bind]) -> list[Bind]:
    """The container's mounts, those of outer folders first."""
    found = []
    for mount in subject.container.volume_mounts:
        source = str(subject.place.volumes / mount.name / mount.sub_path)
        target = _target(mount, subject, system) if known.tier == "bubblewrap" else source
        found.append(Bind(source, target, mount.read_only))
    return sorted(found, key=lambda bind: len(PurePosixPath(bind.target).parts))


def _target(mount: specs.Mount, subject: Subject, system: list[Bind]) -> str:
    """Where a volume is mounted in the sandbox.

    The program that makes the last steps inside may still have rights of root, so nothing that it reads can come from an account.
    """
    pure = PurePosixPath(mount.mount_path)
    problem = None
    if not pure.is_absolute() or ".." in pure.parts or len(pure.parts) < 2 or pure.parts[0] != "/" or not str(pure).isprintable():
        problem = "must be an absolute path below / without .."
    elif str(pure) != confinement.SHM:
        clash = machine.overlaps(str(pure), machine.RESERVED) or machine.above(str(pure), (each.target for each in system))
        problem = clash and f"would hide {clash}, which the sandbox needs"
    if problem:
        raise refusals.Refused(
            refusals.INVALID, f"container {subject.container.name}: volumeMounts: the mountPath {mount.mount_path[:200]!r} {problem}"
        )
    return str(pure)


def _limits(bounds: pod_limits.PodLimits, container: specs.Container) -> confinement.Limits:
    return confinement.Limits(
        processes=bounds.processes,
        open_files=bounds.open_files,
        disk_bytes=bounds.disk_bytes,
        disk_files=bounds.disk_files,
        memory_bytes=bounds.memory(environment.memory(container)),
    )
