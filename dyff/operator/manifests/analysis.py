"""What the pod of an analysis has in addition to the step that stores the results: the fetch, and the program that runs the method."""

from __future__ import annotations

from typing import Any

from dyff.cluster import port
from dyff.entities import analysis_data, specs
from dyff.entities.analysis_data import IN_DIR, OUT_DIR
from dyff.operator import plan
from dyff.operator.manifests import containers, job, runners

FETCH, RUN = "fetch", "run"
"""The names of the init containers. The first is our own step, the second runs code that an account wrote."""

ENVIRONMENT_OF = "dyff.io/environment"
"""Pod annotation with the name of the container that runs code of an account in an environment of analyses."""

_IN_VOLUME, _OUT_VOLUME, _TEMPORARY_VOLUME = "dyff-in", "dyff-out", "dyff-run-tmp"
_SPARE = 64 * 2**20
"""Space next to the files that are limited, for what our own programs add to them. In bytes."""
_REQUESTS = {"cpu": "250m", "memory": "512Mi"}


def around(owner: port.Object, spec: specs.Analysis, setup: plan.Setup) -> job.Around:
    """Everything apart from the step that stores. Only `fetch` and that step reach the storage and have the manifest."""
    programs, limits = setup.operator.programs, setup.analyses
    written = {"name": _IN_VOLUME, "mountPath": IN_DIR}
    fetch = job.step(owner, setup, FETCH, ("fetch-analysis", "--destination", IN_DIR), mounts=(written,))
    return job.Around(
        initial=(fetch, _run(spec, setup)),
        steps=(FETCH,),
        volumes=(
            _volume(_IN_VOLUME, limits.input_bytes + _SPARE),
            _volume(_OUT_VOLUME, limits.output_bytes + limits.log_bytes + _SPARE),
            _volume(_TEMPORARY_VOLUME, programs.tmp_limit),
        ),
        mounts=(_read_only(_OUT_VOLUME, OUT_DIR),),
        args=("--source", OUT_DIR),
        fields={
            **({"runtimeClassName": programs.runtime_class} if programs.runtime_class else {}),
            **({"hostUsers": False} if programs.user_namespaces else {}),
        },
        annotations={ENVIRONMENT_OF: RUN},
    )


def _run(spec: specs.Analysis, setup: plan.Setup) -> port.Object:
    """The program that runs the method's code. It has no credentials, no manifest, and no rights."""
    # A policy holds for all containers of a pod, and ours need the store. So the program itself has to refuse sockets to the method.
    env = {"HOME": runners.TEMPORARY_DIR, "TMPDIR": runners.TEMPORARY_DIR, "DYFF_CONFINE": "sockets"}
    mounts = [
        _read_only(_IN_VOLUME, IN_DIR),
        {"name": _OUT_VOLUME, "mountPath": OUT_DIR},
        {"name": _TEMPORARY_VOLUME, "mountPath": runners.TEMPORARY_DIR},
    ]
    return containers.container(
        RUN,
        spec.image or setup.operator.analysis_image,
        {
            "command": ["python3", "-I"],
            "args": list(analysis_data.RUNNER),
            "env": [{"name": name, "value": value} for name, value in env.items()],
            "resources": _resources(setup),
            "volumeMounts": mounts,
        },
    )


def _resources(setup: plan.Setup) -> port.Object:
    """Memory is also the limit. The disk's limit is for its log and what is not on a volume, which have limits of their own."""
    disk, limits = setup.operator.programs.tmp_limit, setup.analyses
    requests: dict[str, Any] = {**_REQUESTS, containers.DISK: containers.disk_request(disk)}
    if limits.cpu is not None:
        requests["cpu"] = limits.cpu
    if limits.memory is None:
        return {"requests": requests, "limits": {containers.DISK: disk}}
    return {"requests": {**requests, "memory": limits.memory}, "limits": {containers.DISK: disk, "memory": limits.memory}}


def _read_only(volume: str, path: str) -> port.Object:
    return {"name": volume, "mountPath": path, "readOnly": True}


def _volume(name: str, limit: int | str) -> port.Object:
    size = limit if isinstance(limit, str) else str(limit)
    return {"name": name, "emptyDir": {"sizeLimit": size}}
