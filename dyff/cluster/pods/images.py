"""Maps container images to local programs."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dyff.cluster.pods import environment, refusals
from dyff.kernel import settings

STEPS = "dyff/workflows/steps"
MOCK_SERVICE = "dyff/workflows/inferenceservice-mock"


def builtin(python: str) -> dict[str, settings.Image]:
    """Our own images. `python`: the interpreter that this package is installed for."""
    # -P: nothing must be imported from the pod's working directory, which user code can fill.
    command = (python, "-P", "-m", "dyff.workflows")
    return {
        STEPS: settings.Image(command=command, readiness_path=None),
        MOCK_SERVICE: settings.Image(command=(*command, "mock-service"), env={"HOST": "127.0.0.1"}, readiness_path="/ready"),
    }


def as_step(python: str, image: settings.Image, process: environment.Process) -> environment.Process:
    """The process of an image, marked as a step if the image is our own one of the steps. `python`: as in `builtin`."""
    ours = builtin(python)[STEPS]
    return msgspec.structs.replace(process, step=process.argv[len(ours.command) :]) if image == ours else process


def bare(reference: str) -> str:
    """An image reference without its tag and digest: `host:5000/a/b:v1@sha256:...` becomes `host:5000/a/b`."""
    name = reference.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(":")[0]


def find(images: Mapping[str, settings.Image], python: str, reference: str) -> settings.Image:
    """How an image is run: found by its full name in the settings, then by its name without the host there, then in our own images.

    The steps get access to the storage, unlike user code, so only their exact name is accepted; the mock can have any host.

    Raises:
        Refused: the image has no setting; the message says what to add.
    """
    full = bare(reference)
    anywhere = full.partition("/")[2]
    ours = builtin(python)
    found = images.get(full) or images.get(anywhere) or ours.get(full) or (ours[MOCK_SERVICE] if anywhere == MOCK_SERVICE else None)
    if found is None:
        raise refusals.Refused(refusals.NO_IMAGE, _advice(full))
    return found


def _advice(name: str) -> str:
    return (
        f"no setting says which local program runs the image {name!r}. Add to the settings file and start the server again:\n"
        f'pods:\n  images:\n    {name}:\n      command: ["/path/to/program", "--port", "{{port}}"]'
    )
