"""Translates a container spec into a local process: program, arguments, environment, working directory. Pure.

The image mapping's command replaces both the image's entry point and the spec's `command`, because a command contains paths
inside an image that does not exist here; the spec's `args` follow it. For the same reason `workingDir` is used only below a
mounted volume. In arguments and environment values, `$(VAR)` is expanded as in Kubernetes, then paths that begin with a mount
path (also after `--option=`) are translated to the volume's local directory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from dyff.cluster.pods import confinement, images, refusals, specs
from dyff.cluster.pods.secrets import Secrets
from dyff.entities import variables
from dyff.kernel import quantities, settings

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CONFINE = "DYFF_CONFINE"
_PLACEHOLDER = re.compile(r"\{(port|mount:([^{}]*))\}")
_OPTION = re.compile(r"(-[^=/]*=)?(/.*)", re.DOTALL)
_KEYED_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class Process(msgspec.Struct, frozen=True):
    """A process that the shim executes. `memory_bytes`: None for no limit. `hint`: advice if the program cannot be started.

    `confinement`: its sandbox; None for a trusted step, or if the settings say that programs are not isolated. `step`: the arguments
    of `python -m dyff.workflows` if `argv` is exactly that, for our own steps, which a shim can run without executing a program; None
    for all other programs.
    """

    name: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    memory_bytes: int | None
    hint: str
    confinement: confinement.Confinement | None = None
    step: list[str] | None = None


class Place(msgspec.Struct, frozen=True):
    """The directories of a pod: for its work, temporary files and volumes.

    `steps`: for the work of our own steps, next to that of programs of accounts, which no such program sees.
    `as_mounted`: a program sees each volume where the spec mounts it, and no path has to be translated.
    """

    work: Path
    tmp: Path
    volumes: Path
    as_mounted: bool = False

    @property
    def steps(self) -> Path:
        return self.work.with_name(f"{self.work.name}-of-steps")


def process(
    pod: specs.Pod, container: specs.Container, image: settings.Image, place: Place, local_port: int | None, secrets: Secrets | None = None
) -> Process:
    """The process of one container. `place`: the directories as the program sees them. `local_port`: None if it does not listen.
    `secrets`: the result of `secrets.read`.

    Raises:
        Refused: the spec or the mapping refers to something that does not exist, a variable is not allowed, or the environment is too
            large; the message names it.
    """
    mounts = _mounts(pod, container, place)
    fill = _filler(mounts, local_port, container)
    translate = _translator(container, mounts)
    try:
        env = _env(pod, container, translate, local_port, secrets or {})
        words = [translate(variables.expand(word, env)) for word in container.args]
        variables.check_total(sum(len(each.encode()) for each in (*env, *env.values(), *words)))
    except ValueError as error:
        raise refusals.Refused(refusals.INVALID, f"container {container.name}: {error}") from error
    own = {name: fill(value) for name, value in image.env.items()}
    listening = {} if local_port is None else {"PORT": str(local_port)}
    return Process(
        name=container.name,
        argv=[*(fill(word) for word in image.command), *words],
        env={**_base(pod, place), **env, **own, **listening},
        cwd=_cwd(container, mounts, translate, place),
        memory_bytes=memory(container),
        hint=f"The setting pods.images says how the image {container.image!r} is run",
    )


def _base(pod: specs.Pod, place: Place) -> dict[str, str]:
    """The default variables of every pod. Nothing is inherited from the server's environment."""
    return {"PATH": PATH, "HOME": str(place.work), "TMPDIR": str(place.tmp), "LANG": "C.UTF-8", "HOSTNAME": pod.metadata.name}


def _env(
    pod: specs.Pod, container: specs.Container, translate: Callable[[str], str], local_port: int | None, secrets: Secrets
) -> dict[str, str]:
    # PORT is set first, so that $(PORT) expands to the real port.
    listening = {} if local_port is None else {"PORT": str(local_port)}
    step = images.is_step(pod, container)
    env = {name: value for name, value in _from_secrets(container, secrets).items() if _may_set(name, step)} | listening
    for each in container.env:
        # In pods of analyses the variables are the operator's. This one is for Kubernetes, whose policies do less than a sandbox.
        if each.name == _CONFINE and images.is_in_environment(pod, container):
            continue
        if (each.name == "PORT" and local_port is not None) or not _may_set(each.name, step):
            continue
        env[each.name] = _field(pod, container, each) if each.value_from else translate(variables.expand(each.value or "", env))
    return env


def _may_set(name: str, step: bool) -> bool:
    """Whether a variable of the spec counts. What an account's program would be loaded by is refused; what we set ourselves is ignored.

    Raises:
        ValueError: the variable is refused.
    """
    problem = None if step else variables.problem(name)
    if problem is not None:
        raise ValueError(f"env: {problem}")
    return step or name not in variables.OURS


def _from_secrets(container: specs.Container, secrets: Secrets) -> dict[str, str]:
    env: dict[str, str] = {}
    for source in container.env_from:
        if source.secret_ref is None:
            raise refusals.Refused(
                refusals.CONFIG, f"container {container.name}: envFrom: the local cluster has variables from a secretRef only; use env"
            )
        env |= {source.prefix + key: value for key, value in secrets.get(container.name, {}).get(source.secret_ref.name, {}).items()}
    return env


def _field(pod: specs.Pod, container: specs.Container, env: specs.Env) -> str:
    reference = env.value_from and env.value_from.field_ref
    path = reference.field_path if reference else ""
    meta = pod.metadata
    plain = {"metadata.name": meta.name, "metadata.uid": meta.uid, "metadata.namespace": meta.namespace, "status.podIP": "127.0.0.1"}
    if path in plain:
        return plain[path]
    if match := _KEYED_FIELD.fullmatch(path):
        return (meta.labels if match[1] == "labels" else meta.annotations).get(match[2], "")
    raise refusals.Refused(
        refusals.CONFIG,
        f"container {container.name}, env {env.name}: the local cluster gives values from fieldRef metadata.name, .uid, .namespace, "
        f".labels['...'], .annotations['...'] and status.podIP, not {path or 'from other sources'!r}",
    )


def _mounts(pod: specs.Pod, container: specs.Container, place: Place) -> dict[str, tuple[str, str]]:
    """By volume name: the mount path in the spec, and the local directory."""
    known = {volume.name for volume in pod.spec.volumes}
    mounts: dict[str, tuple[str, str]] = {}
    for mount in container.volume_mounts:
        if mount.name not in known:
            raise refusals.Refused(refusals.INVALID, f"container {container.name}: volumeMounts: there is no volume {mount.name!r}")
        if ".." in Path(mount.sub_path).parts or mount.sub_path.startswith("/"):
            raise refusals.Refused(refusals.INVALID, f"container {container.name}: subPath {mount.sub_path!r} leaves its volume")
        mounted = mount.mount_path.rstrip("/")
        local = mounted if place.as_mounted else str(place.volumes / mount.name / mount.sub_path)
        mounts.setdefault(mount.name, (mounted, local))
    return mounts


def _translator(container: specs.Container, mounts: Mapping[str, tuple[str, str]]) -> Callable[[str], str]:
    # The longest mount path comes first, since one volume can be mounted below another.
    pairs = sorted(mounts.values(), key=lambda pair: -len(pair[0]))

    def translate(word: str) -> str:
        match = _OPTION.fullmatch(word)
        if match is None:
            return word
        option, path = match[1] or "", match[2]
        for mounted, local in pairs:
            if path == mounted or path.startswith(mounted + "/"):
                return option + local + path[len(mounted) :]
        return word

    return translate


def _filler(mounts: Mapping[str, tuple[str, str]], local_port: int | None, container: specs.Container) -> Callable[[str], str]:
    def value(match: re.Match[str]) -> str:
        if match[1] == "port":
            if local_port is None:
                raise refusals.Refused(
                    refusals.CONFIG, f"container {container.name} has no ports, but its command in pods.images has {{port}}"
                )
            return str(local_port)
        if match[2] not in mounts:
            have = ", ".join(mounts) or "none"
            raise refusals.Refused(
                refusals.CONFIG, f"container {container.name} mounts no volume {match[2]!r}, which pods.images asks for; it mounts {have}"
            )
        return mounts[match[2]][1]

    return lambda word: _PLACEHOLDER.sub(value, word)


def _cwd(container: specs.Container, mounts: Mapping[str, tuple[str, str]], translate: Callable[[str], str], place: Place) -> str:
    """The container's own directory if it is on a volume, since only volumes are as in its image."""
    wanted = container.working_dir
    if ".." in Path(wanted).parts:
        raise refusals.Refused(refusals.INVALID, f"container {container.name}: workingDir {wanted!r} must not have '..'")
    mounted = any(wanted == path or wanted.startswith(path + "/") for path, _ in mounts.values())
    return translate(wanted) if mounted else str(place.work)


def memory(container: specs.Container) -> int | None:
    """The memory limit of a container in bytes; None if it has none.

    Raises:
        Refused: it is not a quantity.
    """
    limit = container.resources.limits.get("memory")
    if limit is None:
        return None
    try:
        return quantities.parse_bytes(str(limit))
    except ValueError as error:
        raise refusals.Refused(refusals.INVALID, f"container {container.name}: resources.limits.memory: {error}") from error
