"""Maps container images to local programs."""

from __future__ import annotations

from collections.abc import Mapping

from dyff.cluster.pods import environments, refusals, specs
from dyff.kernel import images, settings

STEPS_OF = "dyff.io/steps"
"""Annotation of a pod: the names of the containers that the operator made as steps, with commas. Accounts cannot write it."""
ENVIRONMENT_OF = "dyff.io/environment"
"""Annotation of a pod: the name of the container in which the operator runs code of an account in an environment of analyses."""
STEPS_BEFORE = "dyff/workflows/steps"
"""The name of the steps up to release 0.1. Jobs and Deployments of that time keep it, since their templates cannot change."""
MOCK_SERVICE = "dyff/workflows/inferenceservice-mock"


def is_step(pod: specs.Pod, container: specs.Container) -> bool:
    """Whether a container is one of our own steps, which alone may use the storage and the operator's Secrets.

    The whole reference is compared, so that no combination of host, name, tag and digest is taken for ours. In pods of the release that
    did not mark its steps, what an account chose always had a digest, and was never an init container, and never in a Job.
    """
    if is_in_environment(pod, container):
        return False
    marked = pod.metadata.annotations.get(STEPS_OF)
    if container.image == images.STEPS:
        return marked is not None and container.name in marked.split(",")
    return container.image == STEPS_BEFORE and marked is None and (pod.of_job or container in pod.spec.init_containers)


def is_in_environment(pod: specs.Pod, container: specs.Container) -> bool:
    """Whether a container runs code of an account in an environment of analyses. Such a container is never a step, whatever its image."""
    return pod.metadata.annotations.get(ENVIRONMENT_OF) == container.name


def program(
    known: Mapping[str, settings.Image],
    python: str,
    pod: specs.Pod,
    container: specs.Container,
    known_environments: Mapping[str, str] | None = None,
) -> settings.Image:
    """How a container of a pod is run. `known`: the setting `pods.images`. `python`: the interpreter for our own images.
    `known_environments`: the setting `analyses.environments`; None if there are none.

    Raises:
        Refused: the image has no setting, or is ours and the container is not; the message says what to do.
    """
    if is_in_environment(pod, container):
        return environments.find(known_environments or {}, container.image)
    if is_step(pod, container):
        return known.get(images.STEPS) or steps(python)
    return find(known, python, container.image)


def find(known: Mapping[str, settings.Image], python: str, reference: str) -> settings.Image:
    """How an image that is not ours is run: by its full name in the settings, then by its name without the host there. The mock
    service can have any host.

    Raises:
        Refused: the image has no setting, or is that of our steps; the message says what to do.
    """
    full = images.bare(reference)
    if reference == images.STEPS or full == STEPS_BEFORE:
        raise refusals.Refused(refusals.NO_IMAGE, f"the image {reference!r} is that of Dyff's own steps; name the image of a service")
    found = images.setting(known, reference)
    if found is None and MOCK_SERVICE in (full, images.anywhere(reference)):
        found = settings.Image(command=(*_ours(python), "mock-service"), env={"HOST": "127.0.0.1"}, readiness_path="/ready")
    if found is None:
        raise refusals.Refused(refusals.NO_IMAGE, _advice(full))
    return found


def _ours(python: str) -> tuple[str, ...]:
    # -P: nothing must be imported from the pod's working directory, which user code can fill.
    return (python, "-P", "-m", "dyff.workflows")


def steps(python: str) -> settings.Image:
    """Our own steps, if the settings have no other program for them. `python`: as in `program`."""
    return settings.Image(command=_ours(python), readiness_path=None)


def _advice(name: str) -> str:
    return (
        f"no setting says which local program runs the image {name!r}. Add to the settings file and start the server again:\n"
        f'pods:\n  images:\n    {name}:\n      command: ["/path/to/program", "--port", "{{port}}"]'
    )
