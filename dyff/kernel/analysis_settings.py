"""Settings of analyses: the environments in which methods run, and what a method may use."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec

from dyff.kernel import quantities

DEFAULT_IMAGE = "dyff/analysis"
"""The environment of a method that names none."""


KUBERNETES_MEMORY = "4Gi"
"""What a run has on Kubernetes if nothing is set: without a limit, one method could use all memory of a node."""


class Analyses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How methods run, and what each run may use.

    `environments`: for the local cluster, by the name of an image (`host/name`, or `name` for any host) the Python interpreter of an
    environment on this machine. On Kubernetes the image itself is the environment. `timeout_s`: time of the method's own code.
    `memory`: a quantity, of all its processes together; None for `KUBERNETES_MEMORY`, and on one machine for what `pods.limits` has.
    `cpu`: a quantity, what a run reserves on Kubernetes; None for what our own steps reserve.

    `log_bytes`: what is kept of its output. `cell_bytes`: the output of one cell of a notebook. `input_bytes`: all files that it reads.
    `output_bytes`: all files that it writes, and so the largest one.
    """

    environments: dict[str, str] = {}
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=30 * 86400)] = 3600.0
    memory: str | None = None
    cpu: str | None = None
    log_bytes: Annotated[int, msgspec.Meta(ge=2**10, le=2**30)] = 16 * 2**20
    cell_bytes: Annotated[int, msgspec.Meta(ge=2**10, le=2**30)] = 16 * 2**20
    input_bytes: Annotated[int, msgspec.Meta(ge=2**10, le=2**50)] = 64 * 2**30
    output_bytes: Annotated[int, msgspec.Meta(ge=2**10, le=2**50)] = 4 * 2**30

    def __post_init__(self) -> None:
        """Refuse an interpreter without a full path, and quantities that are none or nothing."""
        for image, python in self.environments.items():
            if not python.startswith("/"):
                raise ValueError(
                    f"environments: {image}: {python!r} is not the absolute path of a Python interpreter; {{here}} stands for the "
                    f"folder of the settings file"
                )
        for name in ("memory", "cpu"):
            text = getattr(self, name)
            try:
                if text is not None and quantities.parse(text) <= 0:
                    raise ValueError(f"{text!r} is nothing")
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error

    def on_kubernetes(self) -> Analyses:
        """The same where nothing but this limits the memory of a run."""
        return self if self.memory is not None else msgspec.structs.replace(self, memory=KUBERNETES_MEMORY)

    @property
    def whole_timeout_s(self) -> int:
        """The time of the method's own code in whole seconds, rounded up."""
        return math.ceil(self.timeout_s)

    @property
    def limits(self) -> dict[str, Any]:
        """What the steps and the program of an analysis keep to, as their manifest has it. Sizes in bytes, None for no limit."""
        return {
            "timeout_s": self.whole_timeout_s,
            "memory_bytes": None if self.memory is None else quantities.parse_bytes(self.memory),
            "log_bytes": self.log_bytes,
            "file_bytes": self.output_bytes,
            "cell_bytes": self.cell_bytes,
            "input_bytes": self.input_bytes,
            "output_bytes": self.output_bytes,
        }
