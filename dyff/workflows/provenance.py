"""What is recorded alongside the results of an analysis: what ran, on what, and what came out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from dyff.entities import codecs, specs
from dyff.objects import hashing
from dyff.objects.manifests import Artifact
from dyff.workflows import analysis_inputs, analysis_outcomes

Read = tuple[analysis_inputs.Source, analysis_inputs.Tree | None]
"""A source and its data; None if that was deleted during the run."""


def of(
    spec: specs.Analysis,
    outcome: analysis_outcomes.Outcome,
    sources: Iterable[Read],
    artifacts: Sequence[Artifact],
    provided: Sequence[codecs.Json],
    platform: codecs.Json,
) -> codecs.Json:
    """The provenance. The digests are the platform's own; what is in `run` is what the run says about itself, and is not verified.

    `inputs`, `modules`: `sha256` is that of the manifest, which has the digest of each file; null if the data is gone. `outputs`: of the
    list of paths, sizes and digests, in the order of paths. `provided`: what the platform gave the code in addition to its environment.
    `platform`: the release whose steps fetched the inputs and stored the outputs.
    """
    read = list(sources)
    inputs = [{"keyword": source.keyword, **_digest(source, data)} for source, data in read if source.keyword is not None]
    modules = [_digest(source, data) for source, data in read if source.keyword is None]
    run = {name: value for name, value in msgspec.to_builtins(outcome).items() if name not in ("status", "reason", "message", "line")}
    return {
        "analysis": spec.id, "method": spec.method, "image": spec.image, "run": run, "inputs": inputs, "modules": modules,
        "outputs": _outputs(artifacts), "provided": list(provided), "platform": platform,
    }  # fmt: skip


def _digest(source: analysis_inputs.Source, data: analysis_inputs.Tree | None) -> codecs.Json:
    return {"kind": source.kind, "id": source.id, "sha256": None if data is None else data.sha256}


def _outputs(artifacts: Sequence[Artifact]) -> codecs.Json:
    listed = sorted((each.path, each.size, each.digest.get("sha256")) for each in artifacts)
    return {"files": len(listed), "bytes": sum(size for _, size, _ in listed), "sha256": hashing.of(codecs.encode(listed)).sha256}
