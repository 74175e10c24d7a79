"""What each kind of runner adds to the user's settings: image, arguments, environment, volumes."""

from __future__ import annotations

import msgspec

from dyff.entities import specs

MOCK_IMAGE = "dyff/workflows/inferenceservice-mock"
MODEL_DIR = "/dyff/mnt/model"
_CACHED = ("huggingface", "vllm")


class Runner(msgspec.Struct, frozen=True):
    """A runner's container. The user's own variables override `env`."""

    image: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    volumes: tuple[specs.DataVolume | specs.ScratchVolume, ...] = ()


def problem(spec: specs.Template) -> str | None:
    """Why the service cannot be run and how to fix it; None if it can."""
    if spec.nodes > 1:
        return f"the runner asks for {spec.nodes} nodes, which is not supported yet; create the service with runner.nodes = 1"
    if spec.image is None and spec.runner != "mock":
        return f"the {spec.runner} runner has no image; create the service with runner.image"
    if spec.runner in _CACHED and (spec.model is None or spec.hugging_face is None):
        return f"the {spec.runner} runner needs a model whose artifact kind is HuggingFaceCache; create the service with such a model"
    return None


def runner(spec: specs.Session) -> Runner:
    """The container of a service for which `problem` returns None."""
    image, args, volumes = spec.image or MOCK_IMAGE, tuple(spec.args), tuple(spec.volumes)
    if spec.runner not in _CACHED or spec.model is None or spec.hugging_face is None:
        return Runner(image, args, {}, volumes)
    model = specs.DataVolume("model", MODEL_DIR, specs.model_source(spec.model))
    own_args = _vllm_args(spec.hugging_face) if spec.runner == "vllm" else _huggingface_args(spec.hugging_face)
    return Runner(image, (*own_args, *args), _CACHE_ENV, (model, *volumes))


def _vllm_args(model: specs.HuggingFace) -> tuple[str, ...]:
    return ("--model", f"{MODEL_DIR}/{model.snapshot}", "--download-dir", MODEL_DIR)


def _huggingface_args(model: specs.HuggingFace) -> tuple[str, ...]:
    return ("--model_name", model.repo_id, "--model_revision", model.revision)


_CACHE_ENV = {
    "HF_HOME": MODEL_DIR,
    "HUGGINGFACE_HUB_CACHE": MODEL_DIR,
    "TRANSFORMERS_CACHE": MODEL_DIR,
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_MODULES_CACHE": "/tmp/hf_modules",
    # Our user has no home directory, but these libraries need one.
    "HOME": "/tmp",
}
