"""What each kind of workflow costs, as a table."""

from __future__ import annotations

import pytest

from dyff.entities import costs, registry

SLOT = {costs.SLOT: "1"}
T4, A100 = "nvidia.com/gpu-t4", "nvidia.com/gpu-a100"
HUB = {"kind": "HuggingFaceHub"}


def gpus(*types, count=1):
    return {"kind": "GPU", "gpu": {"hardwareTypes": list(types), "count": count}}


def a_session(*, cpu=None, memory=None, replicas=1, nodes=1, accelerator=None, of_runner=None):
    runner = {"kind": "container", "resources": {"cpu": cpu, "memory": memory, "storage": "1Ti"}, "nodes": nodes, "accelerator": of_runner}
    return {"inferenceService": {"runner": runner}, "replicas": replicas, "accelerator": accelerator}


SESSIONS = {
    "nothing asked for": (a_session(), {"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "2Gi"}),
    "less than the least": (a_session(cpu="500m", memory="256Mi"), {"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "2Gi"}),
    "a service without a runner": ({"inferenceService": {}}, {"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "2Gi"}),
    "more, for each replica on each node": (
        a_session(cpu="1500m", memory="4Gi", replicas=2, nodes=2), {"cpu": "6", "memory": "16Gi"}, {"cpu": "7", "memory": "17Gi"},
    ),
    "GPUs, for each replica on each node": (
        a_session(accelerator=gpus(T4, count=2), replicas=3, nodes=2), {T4: "12"}, {T4: "12"},
    ),
    "one of several types": (a_session(accelerator=gpus(T4, A100)), {T4: "1", A100: "1"}, {T4: "1", A100: "1"}),
    "the runner's GPUs": (a_session(of_runner=gpus(T4)), {T4: "1"}, {T4: "1"}),
    "the session's instead of the runner's": (a_session(accelerator=gpus(A100), of_runner=gpus(T4)), {A100: "1"}, {A100: "1"}),
    "GPUs, and cpu and memory in so many words": (
        a_session(cpu="8", memory="100M", accelerator=gpus(T4)), {"cpu": "8", "memory": "100000000", T4: "1"},
        {"cpu": "8", "memory": "100000000", T4: "1"},
    ),
    "a device that is called like something else": (
        a_session(cpu="2", accelerator=gpus("cpu", count=3)), {"cpu": "5"}, {"cpu": "5"},
    ),
    "another accelerator": (a_session(accelerator={"kind": "TPU"}), {"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "2Gi"}),
}  # fmt: skip


@pytest.mark.parametrize(("session", "want", "want_of_evaluation"), SESSIONS.values(), ids=SESSIONS)
def test_sessions_and_their_evaluations(session, want, want_of_evaluation):
    """As published at least, and what is asked for where that is more; every one of them takes a slot."""
    assert registry.BY_KIND["InferenceSession"].cost(session) == {**want, **SLOT}
    assert registry.BY_KIND["Evaluation"].cost({"inferenceSession": session}) == {**want_of_evaluation, **SLOT}


OTHERS = {
    "an evaluation of a running session": ("Evaluation", {"inferenceSessionReference": "x", "inferenceSession": a_session(cpu="9")}, SLOT),
    "a model that is fetched": ("Model", {"source": HUB, "resources": {"storage": "1Ti"}}, {"cpu": "1", "memory": "1Gi", **SLOT}),
    "one that asks for more": ("Model", {"source": HUB, "resources": {"cpu": "4", "memory": "3Gi"}}, {"cpu": "4", "memory": "3Gi", **SLOT}),
    "a model that is uploaded": ("Model", {"source": {"kind": "Upload"}, "resources": {"cpu": "4"}}, {}),
    "a service": ("InferenceService", {"runner": {"resources": {"cpu": "4"}}}, {}),
    "a dataset": ("Dataset", {}, {}),
    "a measurement": ("Measurement", {}, {"cpu": "2", "memory": "2Gi", **SLOT}),
    "a safety case": ("SafetyCase", {}, {"cpu": "1", "memory": "1Gi", **SLOT}),
}


@pytest.mark.parametrize(("kind", "entity", "want"), OTHERS.values(), ids=OTHERS)
def test_other_kinds(kind, entity, want):
    """What runs nothing costs nothing."""
    assert registry.BY_KIND[kind].cost(entity) == want


@pytest.mark.parametrize("text", ["1e999999999", "much", "-1"])
def test_a_quantity_that_is_none_is_an_error_not_a_number(text):
    """Also where it is so large that nobody could even write it down."""
    with pytest.raises(ValueError, match="quantit"):
        costs.session(a_session(cpu=text))
