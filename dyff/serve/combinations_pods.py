"""Rules about pods: what their programs need to run, and what an account may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from dyff.admission import snapshot
from dyff.kernel import addresses, images
from dyff.serve import engine_clients, roles
from dyff.serve.judging import Case, Finding

_HUB = "HF_ENDPOINT"
_TOKEN_FILE = "HF_TOKEN_PATH"


def storage_of_kubernetes(case: Case) -> Iterator[Finding]:
    """Pods of a Kubernetes cluster cannot reach a directory of the server."""
    uses_store = case.runs_steps or "objects" in roles.ports(case.rows)
    if uses_store and case.on_kubernetes and case.settings.objects.url is None:
        yield Finding(
            settings=("objects.url",),
            problem="not set, and pods of a Kubernetes cluster cannot reach a directory of this machine",
            fix="set it to a store that the pods can reach",
        )


def storage_credentials(case: Case) -> Iterator[Finding]:
    """Our steps get nothing of the server's environment: without a Secret they have no access to the store, and every run fails."""
    chosen = case.settings
    if not case.runs_steps or chosen.objects.url is None or chosen.operator.storage_secret is not None:
        return
    store = case.store
    if store is None or not store.ambient:
        usual = engine_clients.credentials(store)[0] if store is not None else "the credentials"
        yield Finding(
            settings=("operator.storage_secret",),
            problem="not set, so the steps of workflows would have no credentials for objects.url, and every run would fail",
            fix=f"set it to the name of a Secret with the keys that the store needs ({usual} and what belongs to it), "
            "or add ambient=true to objects.url if pods have a role of their machine",
        )


def local_secrets(case: Case) -> Iterator[Finding]:
    """Secrets of the local cluster are folders; a step whose Secret is missing never starts."""
    chosen = case.settings
    if not case.uses_cluster or case.on_kubernetes:
        return
    folder = chosen.pods.secrets_dir
    if folder is not None and case.here and not Path(folder).is_dir():
        yield Finding(settings=("pods.secrets_dir",), problem=f"{folder} is not a directory", fix="create it, or correct the path")
        return
    for name in ("storage_secret", "fetch_secret"):
        wanted = getattr(chosen.operator, name)
        if wanted is None:
            continue
        if folder is None:
            yield Finding(
                settings=("pods.secrets_dir", f"operator.{name}"),
                problem=f"the local cluster has no Secrets, so no step that needs {wanted!r} would start",
                fix=f"set pods.secrets_dir to a directory with a folder {wanted!r} that has a file for each key",
            )
        elif case.here:
            yield from _lacking(case, f"operator.{name}", Path(folder) / wanted)


def _lacking(case: Case, setting: str, secret: Path) -> Iterator[Finding]:
    """What a folder with a Secret lacks."""
    if not secret.is_dir():
        yield Finding(settings=(setting,), problem=f"there is no folder {secret}", fix="create it with a file for each key")
        return
    store = case.store
    if setting == "operator.storage_secret" and store is not None and not store.ambient:
        possible = engine_clients.credentials(store)
        if not any((secret / key).is_file() for key in possible):
            yield Finding(
                settings=(setting,),
                problem=f"the folder {secret} has no credentials for objects.url, so every run would fail",
                fix=f"add a file {possible[0]}, or one of {', '.join(possible[1:])}, and what belongs to it",
            )


def steps_image(case: Case) -> Iterator[Finding]:
    """The program of our own steps: a container image on Kubernetes, and what is built in on the local cluster."""
    chosen = case.settings.operator.steps_image
    if not case.runs_steps:
        return
    if case.on_kubernetes and chosen == images.STEPS:
        yield Finding(
            settings=("operator.steps_image",),
            problem="not set, and Kubernetes needs a container image for Dyff's own steps",
            fix="set it to Dyff's image, which 'make image' builds",
        )
    if not case.on_kubernetes and chosen != images.STEPS:
        yield Finding(
            settings=("operator.steps_image",),
            problem="the local cluster runs Dyff's own steps without an image, and gives another program no access to the store",
            fix="remove it",
        )


def environments(case: Case) -> Iterator[Finding]:
    """Interpreters of methods: on the local cluster they must be there, and on Kubernetes nothing uses them."""
    known = case.settings.analyses.environments
    if not case.runs_steps or not known:
        return
    if case.on_kubernetes:
        yield Finding(
            settings=("analyses.environments",),
            problem="it is for the local cluster; on Kubernetes the image of a method is its environment",
            fix="remove it, and set operator.analysis_image if methods that name no image need another one",
            refused=False,
        )
    elif case.here:
        for image, python in known.items():
            if not os.access(python, os.X_OK) or os.path.isdir(python):
                yield Finding(
                    settings=("analyses.environments",),
                    problem=f"{python}, for the image {image}, is no program that can be executed, so its methods cannot run",
                    fix="name the Python interpreter of an environment",
                    refused=False,
                )


def secrets_on_kubernetes(case: Case) -> Iterator[Finding]:
    """Folders of Secrets that nothing reads."""
    if case.uses_cluster and case.on_kubernetes and case.settings.pods.secrets_dir is not None:
        yield Finding(
            settings=("pods.secrets_dir",),
            problem="it is for the local cluster, and nothing of it reaches pods on Kubernetes",
            fix=f"create the Secrets in the namespace {case.settings.cluster.kubernetes.namespace!r}, and remove it",
            refused=False,
        )


def callers(case: Case) -> Iterator[Finding]:
    """The API outside the cluster calls services through the API server, which their network policies refuse."""
    chosen = case.settings
    if case.runs_steps and chosen.cluster.kubernetes.kubeconfig is not None and not chosen.operator.programs.callers:
        yield Finding(
            settings=("operator.programs.callers",),
            problem="not set, and Dyff runs outside the cluster, so its API cannot call inference sessions there",
            fix="set it to the network of the Kubernetes API server, such as [10.0.0.0/16]",
            refused=False,
        )


def fetching(case: Case) -> Iterator[Finding]:
    """What the step that fetches models is given, and cannot use."""
    chosen = case.settings.operator
    if not case.runs_steps:
        return
    hub = urlsplit(chosen.fetch_env.get(_HUB, "")).hostname or ""
    if _is_internal(hub) and addresses.plain(hub) not in map(addresses.plain, chosen.fetch_allowed_hosts):
        yield Finding(
            settings=("operator.fetch_allowed_hosts",),
            problem=f"it lacks {hub!r}, the host of {_HUB}, which is internal, so no model of that hub can be fetched",
            fix="add the host",
            refused=False,
        )
    file = chosen.fetch_env.get(_TOKEN_FILE)
    if file is not None and (case.on_kubernetes or (case.here and not Path(file).is_file())):
        where = "pods on Kubernetes do not have files of this machine" if case.on_kubernetes else f"the file {file} does not exist"
        yield Finding(
            settings=("operator.fetch_env",),
            problem=f"{_TOKEN_FILE}: {where}, so private models cannot be fetched",
            fix="use operator.fetch_secret with the key HF_TOKEN, or correct the path",
            refused=False,
        )


def _is_internal(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not addresses.is_public(host)
    except ValueError:  # a name, which is only known when it is resolved
        return False


def quotas(case: Case) -> Iterator[Finding]:
    """Quotas that are no quantities, or that let no workflow run."""
    if not case.has("orchestrator"):
        return
    try:
        snapshot.limits(case.settings.quotas)
    except ValueError as error:
        yield Finding(settings=("quotas",), problem=str(error), fix="use Kubernetes quantities, such as 4 or 16Gi")
    for name in ("admitted", "cpu", "memory"):
        value = getattr(case.settings.quotas, name)
        if value is not None and str(value).strip() in ("0", "0.0"):
            yield Finding(settings=(f"quotas.{name}",), problem="0, so no workflow ever starts", fix="set a higher one", refused=False)
