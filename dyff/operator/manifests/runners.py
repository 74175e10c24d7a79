"""The kinds of runners: what each adds to the image, arguments and environment that the user gave. Pure.

A kind of runner is a row of the table below. One that is not in it runs the user's container as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from dyff.entities import specs

MOCK_IMAGE = "dyff/workflows/inferenceservice-mock"
MODEL_DIR = "/dyff/mnt/model"


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
    "HF_MODULES_CACHE": "/tmp/hf_modules",
    # Our user has no home folder, and these libraries insist on one.
    "HOME": "/tmp",
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
    return None


def runner(spec: specs.Session) -> Runner:
    """The container of a service without a `problem`."""
    row = TABLE.get(spec.runner, _AS_GIVEN)
    image, args, volumes = spec.image or row.image or "", tuple(spec.args), tuple(spec.volumes)
    if row.model_args is None or spec.model is None or spec.hugging_face is None:
        return Runner(image, args, row.env, volumes)
    model = specs.DataVolume("model", MODEL_DIR, specs.model_source(spec.model))
    return Runner(image, (*row.model_args(spec.hugging_face), *args), row.env, (model, *volumes))
