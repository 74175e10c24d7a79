"""Compute resources in requests: quantities, accelerators, container images and mounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from dyff.entities import codecs, described, variables
from dyff.entities.identity import Count, EntityIdentifier, Part, Short, Text, Word

IMAGE_HINT = 'the image is {"host": "docker.io", "name": "team/model", "digest": "sha256:" and 64 hex digits}'
"""For errors. The local cluster finds the program by host and name, and ignores the digest."""

Quantity = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^\+?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$(?!\n)",
        max_length=64,
        description="a Kubernetes quantity such as 500m, 2 or 4Gi",
    ),
]

_STEP = r"([^/.\x00][^/\x00]*|\.([^/.\x00][^/\x00]*|\.[^/\x00]+))"
"""A name in a path that is neither `.` nor `..`."""

_STEPS = "/dyff/workflows/steps"

_SEGMENT = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"


class AcceleratorGPU(Part, frozen=True):
    """GPUs: `count` devices of any of `hardwareTypes` (such as `nvidia.com/gpu-t4`)."""

    hardwareTypes: Annotated[tuple[Short, ...], msgspec.Meta(min_length=1, max_length=100)]
    count: Count = 1
    memory: Quantity | None = None


class Accelerator(Part, frozen=True):
    """Hardware accelerators."""

    kind: Short
    gpu: AcceleratorGPU | None = None


class ModelResources(Part, frozen=True):
    """Resource requests of a container."""

    storage: Quantity | None = None
    memory: Quantity | None = None
    cpu: Quantity | None = None


class ContainerImageSource(Part, frozen=True):
    """A container image, which is always pulled by digest."""

    rules: ClassVar[codecs.Json] = {
        "not": {
            "anyOf": [
                {"properties": {"name": {"pattern": r"(^|\/)dyff\/workflows\/steps$"}}, "required": ["name"]},
                {
                    "properties": {"host": {"pattern": "^[dD][yY][fF][fF]$"}, "name": {"const": "workflows/steps"}},
                    "required": ["host", "name"],
                },
            ]
        }
    }

    host: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?$(?!\n)",
            max_length=255,
            description="'hostname' or 'hostname:port', without scheme, path or underscores",
        ),
    ]
    name: Annotated[
        str,
        msgspec.Meta(
            pattern=rf"^{_SEGMENT}(\/{_SEGMENT})*$(?!\n)",
            max_length=255,
            description="a repository name in lower case, such as dyff/workflows/vllm-runner, without host and tag",
        ),
    ]
    digest: Annotated[
        str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$(?!\n)", max_length=71, description="'sha256:' and 64 lower-case hex digits")
    ]
    tag: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=r"^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$(?!\n)",
                max_length=127,
                description="at most 127 letters, digits, '_', '.' or '-'",
            ),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        """Refuse the name of our own steps at any host, and a host that is a part of that name."""
        if f"/{self.host}/{self.name}".lower().endswith(_STEPS):
            raise ValueError(
                f"name: {self.host}/{self.name} is the image of Dyff's own steps, which services cannot run; name another image"
            )


class EnvVar(Part, frozen=True):
    """An environment variable."""

    hints: ClassVar[Mapping[str, str]] = {"value": "values are strings"}

    rules: ClassVar[codecs.Json] = {"properties": {"name": {"not": variables.REFUSED}}}

    name: Annotated[
        str,
        msgspec.Meta(
            pattern=variables.NAME,
            max_length=255,
            description="letters, digits, '-', '_' or '.', not beginning with a digit; not one that changes how programs are loaded",
        ),
    ]
    value: Word

    def __post_init__(self) -> None:
        """Refuse a variable that changes which code is loaded."""
        problem = variables.problem(self.name)
        if problem is not None:
            raise ValueError(problem)


class VolumeMountData(Part, frozen=True):
    """Mounts the files of a Model or Dataset."""

    rules: ClassVar[codecs.Json] = {"properties": {"source": {"properties": {"kind": {"enum": ["Model", "Dataset"]}}}}}

    source: EntityIdentifier

    def __post_init__(self) -> None:
        """Refuse other kinds: only these two have files that can be mounted."""
        if self.source.kind not in ("Model", "Dataset"):
            raise ValueError("source.kind must be Model or Dataset")


class VolumeMountScratch(Part, frozen=True):
    """Mounts an empty volume."""

    capacity: Quantity


class VolumeMount(Part, frozen=True):
    """A volume in a container. Kind `Data` needs `data`, kind `Scratch` needs `scratch`."""

    rules: ClassVar[codecs.Json] = {"allOf": described.field_of_kind({"Data": "data", "Scratch": "scratch"})}

    kind: Literal["Data", "Scratch"]
    name: Short
    mountPath: Annotated[
        Text,
        described.says(pattern=f"^(/+{_STEP})+/*$", description="an absolute path below /, without '.' and '..'"),
    ]
    data: VolumeMountData | None = None
    scratch: VolumeMountScratch | None = None

    def __post_init__(self) -> None:
        """Refuse the payload of the other kind, and a path that would hide the container's own files."""
        if (self.kind == "Data") != (self.data is not None) or (self.kind == "Scratch") != (self.scratch is not None):
            raise ValueError("a mount of kind Data needs data and no scratch, one of kind Scratch needs scratch and no data")
        segments = self.mountPath.split("/")
        if segments[0] or not self.mountPath.strip("/") or "." in segments or ".." in segments or "\0" in self.mountPath:
            raise ValueError("mountPath must be an absolute path below /, without '.' and '..' and without a NUL character")
