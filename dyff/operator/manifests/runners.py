"""The kinds of runners: what each adds to the image, arguments and environment that the user gave. Pure.

A kind of runner is a row of the table below. One that is not in it runs the user's container as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

from dyff.entities import specs, variables

MOCK_IMAGE = "dyff/workflows/inferenceservice-mock"
MODEL_DIR = "/dyff/mnt/model"
TEMPORARY_DIR = "/tmp"
"""The only folder of a runner that it can write to, apart from its scratch volumes."""
_RESERVED = re.compile(
    r"cpu|memory|pods|storage|ephemeral-storage|(hugepages|attachable-volumes)-.*|(requests|limits)\..*|([^/]*\.)?kubernetes\.io/.*"
)
"""Names of resources that are no devices. An accelerator with such a name would replace a limit of the runner."""


class Runner(msgspec.Struct, frozen=True):
    """A runner's container. `env` comes before the user's own, which overrides it."""

    image: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    volumes: tuple[specs.DataVolume | specs.ScratchVolume, ...] = ()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of runner.

    `image`: what runs if the user gives no image; None: the user must give one. `model_args(model)`: arguments before the user's,
    for a runner that loads a model from a Hugging Face cache, which is mounted at `MODEL_DIR`; None: it loads none.
    `env`: its variables.
    """

    image: str | None = None
    model_args: Callable[[specs.HuggingFace], tuple[str, ...]] | None = None
    env: Mapping[str, str] = {}


_CACHE_ENV = {
    "HF_HOME": MODEL_DIR,
    "HUGGINGFACE_HUB_CACHE": MODEL_DIR,
    "TRANSFORMERS_CACHE": MODEL_DIR,
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_MODULES_CACHE": f"{TEMPORARY_DIR}/hf_modules",
}

TABLE: Mapping[str, Row] = {
    "huggingface": Row(model_args=lambda model: ("--model_name", model.repo_id, "--model_revision", model.revision), env=_CACHE_ENV),
    "mock": Row(image=MOCK_IMAGE),
    "vllm": Row(
        model_args=lambda model: ("--model", f"{MODEL_DIR}/{model.snapshot}", "--download-dir", MODEL_DIR),
        env=_CACHE_ENV,
    ),
}
"""By the name in `runner.kind`."""

AS_GIVEN = frozenset({"bentoml_service_openllm", "container", "standalone"})
"""The kinds that are not in the table on purpose."""

_AS_GIVEN = Row()


def problem(spec: specs.Template) -> str | None:
    """Why the service cannot be run, with what to do about it; None if it can."""
    row = TABLE.get(spec.runner, _AS_GIVEN)
    if spec.nodes > 1:
        return f"the runner asks for {spec.nodes} nodes, which is not supported yet; create the service with runner.nodes = 1"
    if spec.image is None and row.image is None:
        return f"the {spec.runner} runner has no image; create the service with runner.image"
    if row.model_args is not None and (spec.model is None or spec.hugging_face is None):
        return f"the {spec.runner} runner needs a model whose artifact kind is HuggingFaceCache; create the service with such a model"
    return _device(spec)


def wrong_variable(spec: specs.Template) -> str | None:
    """Which variable or argument a program must not be started with, and what to do about it; None if all are fine."""
    try:
        variables.expanded([(each.name, each.value) for each in spec.env], (*(spec.command or ()), *spec.args))
    except ValueError as error:
        return f"the runner cannot be started: {error}"
    found = next(filter(None, (variables.problem(each.name) for each in spec.env)), None)
    return None if found is None else f"the runner cannot have this variable: {found}, and create the service again"


def _device(spec: specs.Template) -> str | None:
    """Why the accelerator is none; None if it is one, or there is none."""
    gpu = spec.accelerator.gpu if spec.accelerator is not None else None
    if gpu is None or not _RESERVED.fullmatch(gpu.hardware_types[0]):
        return None
    name = gpu.hardware_types[0][:100]
    return f"the accelerator's hardware type {name!r} is no device such as nvidia.com/gpu; create the service with the name of a device"


def runner(spec: specs.Session) -> Runner:
    """The container of a service without a `problem`."""
    row = TABLE.get(spec.runner, _AS_GIVEN)
    image, args, volumes = spec.image or row.image or "", tuple(spec.args), tuple(spec.volumes)
    if row.model_args is None or spec.model is None or spec.hugging_face is None:
        return Runner(image, args, row.env, volumes)
    model = specs.DataVolume("model", MODEL_DIR, specs.model_source(spec.model))
    return Runner(image, (*row.model_args(spec.hugging_face), *args), row.env, (model, *volumes))
