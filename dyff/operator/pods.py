"""What pods say about themselves. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from dyff.cluster import port

MAX_WORDS_BYTES = 2048
"""How much of a container's last output goes into a message."""

_NEVER_RUNNABLE = frozenset({"ErrImageNeverPull", "InvalidImageName"})
_NOT_PULLED = frozenset({"ErrImagePull", "ImagePullBackOff"})
_PULLED_NEVER = re.compile(
    r"not found|manifest unknown|does not exist|no such image|invalid reference|denied|unauthorized|forbidden|authentication required|"
    r"no match for platform",
    re.IGNORECASE,
)
"""What registries and container runtimes say of an image that another try will not get. Anything else may be the network."""


class Failure(msgspec.Struct, frozen=True):
    """How a container failed.

    `exit_code`: None: it is not known, for instance because the pod was evicted. `reason`: Kubernetes' word, such as
    `OOMKilled`. `initial`: it was an init container. `words`: its last lines.
    `restarts`: how often containers of the pod were started again.
    """

    pod: str
    container: str
    exit_code: int | None
    reason: str
    initial: bool
    words: str
    restarts: int

    def text(self) -> str:
        """A sentence about it, with the last lines below."""
        ended = f"ended with exit code {self.exit_code}" if self.exit_code is not None else "failed"
        advice = "; it needs more memory: raise the memory that is requested" if self.reason == "OOMKilled" else ""
        why = f" ({self.reason})" if self.reason not in ("", "Error") else ""
        return f"container {self.container} of pod {self.pod} {ended}{why}{advice}.{quoted(self.words)}"


def quoted(words: str) -> str:
    """`words` as the end of a message."""
    return f" Its last lines:\n{words}" if words else ""


def live(pod: port.Object) -> bool:
    """Whether something of it may still run."""
    return (pod.get("status") or {}).get("phase", "Pending") in ("Pending", "Running", "Unknown")


def of_component(pods: Iterable[port.Object], component: str) -> list[port.Object]:
    """The pods of a part that are not being deleted."""
    return [pod for pod in pods if pod["metadata"]["labels"].get("dyff.io/component") == component and not deleting(pod)]


def of_owner(pods: Iterable[port.Object], uid: str) -> list[port.Object]:
    """The pods that a Job made, also those that are being deleted."""
    return [pod for pod in pods if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences") or ())]


def deleting(obj: port.Object) -> bool:
    """Whether an object is being deleted."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def not_runnable(pods: Iterable[port.Object]) -> str | None:
    """Why an image can never be run; None: no pod complains about an image, or another try may get it."""
    for pod in pods:
        for _, status in _containers(pod):
            waiting = (status.get("state") or {}).get("waiting") or {}
            hopeless = waiting.get("reason") in _NOT_PULLED and _PULLED_NEVER.search(waiting.get("message") or "")
            if hopeless or waiting.get("reason") in _NEVER_RUNNABLE:
                image = status.get("image") or _image(pod, status["name"])
                return f"the image {image} cannot be run: {waiting.get('message') or waiting['reason']}"
    return None


def waiting(pods: Sequence[port.Object]) -> str:
    """What the first pod that is not ready waits for; empty: nothing is known of it."""
    for pod in pods:
        for _, status in _containers(pod):
            state = (status.get("state") or {}).get("waiting")
            if state:
                return f"pod {pod['metadata']['name']}: {_reason(state)}"
        for condition in (pod.get("status") or {}).get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] != "True":
                return f"pod {pod['metadata']['name']}: {_reason(condition)}"
        status = pod.get("status") or {}
        if status.get("phase", "Pending") == "Pending" and status.get("message"):
            return f"pod {pod['metadata']['name']}: {status['message']}"
    return ""


def failure(pod: port.Object, logs: Mapping[str, str]) -> Failure | None:
    """How a container of the pod failed; None: none has. `logs`: by pod name, for containers whose status has no words."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    restarts = max((each.get("restartCount", 0) for _, each in _containers(pod)), default=0)
    for initial, each in _containers(pod):
        ended = _failed(each)
        if ended is not None:
            words = last_lines(ended.get("message") or logs.get(name, ""))
            return Failure(name, each["name"], ended.get("exitCode"), ended.get("reason") or "", initial, words, restarts)
    if status.get("phase") == "Failed":
        words = last_lines(status.get("message") or "")
        return Failure(name, pod["spec"]["containers"][0]["name"], None, status.get("reason") or "", False, words, restarts)
    return None


def last_failure(pods: Iterable[port.Object], logs: Mapping[str, str]) -> Failure | None:
    """The failure of the newest pod that failed; None: none has."""
    newest_first = sorted(pods, key=lambda pod: pod["metadata"].get("creationTimestamp") or "", reverse=True)
    return next((found for pod in newest_first if (found := failure(pod, logs)) is not None), None)


def lacks_words(pod: port.Object) -> str | None:
    """The container that failed and whose status does not hold its last lines; None: there is none."""
    for _, status in _containers(pod):
        ended = _failed(status)
        if ended is not None:
            return None if ended.get("message") else str(status["name"])
    return None


def last_lines(text: str) -> str:
    """The end of `text`, whole lines where possible, at most `MAX_WORDS_BYTES`."""
    data = text.strip().encode()
    if len(data) <= MAX_WORDS_BYTES:
        return data.decode()
    tail = data[-MAX_WORDS_BYTES:].decode(errors="ignore")
    _, newline, rest = tail.partition("\n")
    return rest if newline and rest else tail


def _containers(pod: port.Object) -> Iterator[tuple[bool, dict[str, Any]]]:
    """Whether it is an init container, and its status; in the order in which they start."""
    status = pod.get("status") or {}
    for each in status.get("initContainerStatuses") or ():
        yield True, each
    for each in status.get("containerStatuses") or ():
        yield False, each


def _failed(status: Mapping[str, Any]) -> dict[str, Any] | None:
    """How a container ended that ended badly, now or the last time."""
    for key in ("state", "lastState"):
        ended: dict[str, Any] | None = (status.get(key) or {}).get("terminated")
        if ended is not None:
            return ended if ended.get("exitCode") != 0 else None
    return None


def _image(pod: port.Object, container: str) -> str:
    spec = pod["spec"]
    named = {each["name"]: each["image"] for each in (*(spec.get("initContainers") or ()), *spec["containers"])}
    return str(named.get(container, "of container " + container))


def _reason(state: Mapping[str, Any]) -> str:
    return ": ".join(str(state[key]) for key in ("reason", "message") if state.get(key))
