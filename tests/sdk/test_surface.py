"""What the SDK offers: the published client's groups, methods and parameters, each documented, alike for both clients."""

from __future__ import annotations

import inspect
import re

import dyff.client
import pytest

from dyff.entities import kind, registry
from dyff.sdk import AsyncClient, Client, calls, inference

OURS = Client(api_token="t")
PUBLISHED = dyff.client.Client(api_token="t")
GROUPS = (
    "accounts", "datasets", "evaluations", "families", "inferenceservices", "inferencesessions", "measurements", "methods",
    "models", "modules", "reports", "safetycases", "tokens", "usecases", "volumes",
)  # fmt: skip

NOT_SERVED = "the server has no such kind yet"
BY_COMMAND = "accounts are made and named by the command 'dyff account'"
ABSENT = {
    "client": {
        **dict.fromkeys(("artifacts", "challenges", "pipelines", "quotas"), NOT_SERVED),
        **dict.fromkeys(("submissions", "teams"), NOT_SERVED),
        "raw": "the published client's own plumbing",
        "registry_url": "there is no registry of OCI artifacts",
    },
    "accounts": dict.fromkeys(("create", "get", "delete", "label"), BY_COMMAND),
    **{name: {"finalize": "nothing is uploaded to them"} for name in ("evaluations", "measurements", "safetycases")},
    "reports": dict.fromkeys(("create", "finalize"), "no new ones are made; measurements have replaced them"),
    "models": dict.fromkeys(("logs", "download_logs"), "superseded by workflow_logs; the server never served them"),
}
"""Method or group of the published client that we leave out on purpose: the reason."""

LEFT_OUT = {
    "api_key": "deprecated by the published client, too",
    "verify_ssl_certificates": "likewise",
    "registry_url": "there is no registry",
    "backoff": "what is safe to repeat is repeated with growing, drawn delays",
    "default_headers": "nothing needs them",
}
"""Parameters of the client that we leave out on purpose: the reason."""


def public(thing) -> set[str]:
    return {name for name in dir(type(thing)) if not name.startswith("_")} | {name for name in vars(thing) if not name.startswith("_")}


def parameters(function) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def test_the_clients_have_the_published_groups():
    """Every public name of the published client is there, or left out with a reason."""
    missing = public(PUBLISHED) - public(OURS)
    assert missing == set(ABSENT["client"]), "add what is missing, or remove from ABSENT (above) what is there now"


@pytest.mark.parametrize("group", GROUPS)
def test_each_group_has_the_published_methods(group):
    """Every public method of the published group is there, or left out with a reason."""
    missing = public(getattr(PUBLISHED, group)) - public(getattr(OURS, group))
    assert missing == set(ABSENT.get(group, {}))


@pytest.mark.parametrize("group", GROUPS)
def test_each_method_takes_the_published_parameters(group):
    """By the same names, as keywords and in the same order; queries take the keys of the kind."""
    ours, published = getattr(OURS, group), getattr(PUBLISHED, group)
    for name in public(published) & public(ours):
        have, want = parameters(getattr(ours, name)), parameters(getattr(published, name))
        if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in have.values()):
            row = next(row for row in registry.ROWS if row.plural == group)
            keys = {**kind.COMMON_QUERY, **row.query, **row.elements}
            deprecated = {"output_kind"} if group == "methods" else set()
            assert set(want) - deprecated <= set(have) | set(keys), name
            continue
        if group == "models" and name in ("uplink", "finalize"):  # only there the ID has another name
            want = {"id" if each == "model_id" else each: value for each, value in want.items()}
        assert [each for each in have if each in want] == list(want), name


def test_the_client_takes_the_published_parameters():
    """Address, token, certificates, time-out and retries by the same names."""
    missing = set(parameters(dyff.client.Client)) - set(parameters(Client))
    assert missing == set(LEFT_OUT)


def methods(client):
    for group in GROUPS:
        subject = getattr(client, group)
        for name in sorted(public(subject)):
            yield f"{group}.{name}", getattr(subject, name)
    for name in sorted(public(client)):
        if callable(getattr(client, name)):
            yield name, getattr(client, name)
    if client is OURS:
        yield "infer", inference.InferenceSessionClient.infer


@pytest.mark.parametrize("client", [OURS, AsyncClient(api_token="t")], ids=["Client", "AsyncClient"])
def test_every_method_is_documented_with_an_example(client):
    """`help(client.datasets.get)` says what it does, shows its parameters, and gives an example that compiles."""
    for name, method in methods(client):
        text = inspect.getdoc(method) or ""
        assert "Example:" in text, name
        (example,) = re.findall(r"Example:\s+`(.+)`\Z", text)
        compile(f"async def example():\n  {example}", name, "exec")
        if name != "infer":
            assert "self" not in inspect.signature(method).parameters, name


def test_both_clients_are_one():
    """Each operation of the one is the same function as that of the other: what is fixed in one is fixed in both."""
    both = AsyncClient(api_token="t")
    for group in GROUPS:
        ours, other = getattr(OURS, group), getattr(both, group)
        assert type(ours) is type(other)
        for name in public(ours):
            assert getattr(ours, name).__doc__ == getattr(other, name).__doc__


def test_calls_are_what_their_client_promises():
    """Operations of the asynchronous client are coroutine functions; those of the blocking one are not."""
    both = AsyncClient(api_token="t")
    for name in ("get", "query", "download", "wait"):
        assert inspect.iscoroutinefunction(getattr(both.evaluations, name))
        assert not inspect.iscoroutinefunction(getattr(OURS.evaluations, name))
    assert inspect.isasyncgenfunction(both.evaluations.pages)


def test_a_blocking_call_that_would_suspend_is_a_defect_that_is_reported():
    """It never hangs: a coroutine that awaits anything but the client's I/O is refused at once."""

    class Suspends:
        def __await__(self):
            yield

    async def wrong() -> None:
        await Suspends()

    with pytest.raises(RuntimeError, match="was suspended"):
        calls.run(wrong())
