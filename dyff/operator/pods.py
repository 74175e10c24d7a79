"""Reads the state of pods: what they are waiting for, and how they failed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from dyff.cluster import conditions, port
from dyff.kernel import clock

MAX_WORDS_BYTES = 2048
"""Maximum size of a container's last output in a message."""

_NEVER_RUNNABLE = frozenset({"ErrImageNeverPull", "InvalidImageName"})
_NOT_PULLED = frozenset({"ErrImagePull", "ImagePullBackOff"})
_PULLED_NEVER = re.compile(
    r"not found|manifest unknown|does not exist|no such image|invalid reference|no match for platform",
    re.IGNORECASE,
)
"""Errors of registries and container runtimes for which a retry is useless. Any other error can be a network problem."""

_NAME_MARKS = re.compile(r"[/:@]")

_PULLED_LATER = re.compile(
    r"denied|unauthorized|forbidden|authentication required|insufficient_scope|no basic auth credentials|\b40[13]\b", re.IGNORECASE
)
"""The registry does not let us in: it can also say this while its accounts or tokens have a problem. It is retried for a while."""

_PULLED_AGAIN = re.compile(r"toomanyrequests|too many requests|\b(429|5\d\d) |timeout|timed out|connection|no such host|EOF", re.IGNORECASE)
"""The registry or the network has a problem: it is retried until the deadline."""

_ANSWERED = "is answered with status"
"""Words of the local cluster's kubelet. Kubernetes reports what a probe received in events only."""

_OF_THE_POD = frozenset({"Evicted", "Preempting", "NodeShutdown", "Terminated"})
"""Reasons for which a node ends a whole pod. They explain more than the exit codes of its containers."""

_OUT_OF_MEMORY = "OOMKilled"

_COMES_NEXT = ("PodInitializing", "ContainerCreating", "")
"""Reasons of a container that waits for nothing but the kubelet, when those before it have ended."""

_ADVICE = {
    "SchedulingGated": "it waits for its turn in a queue of the cluster; its deadline begins afterwards",
    "Unschedulable": "request less, or add a node that has it",
    "ErrImagePull": "it is tried again; see that the nodes reach the registry",
    "ImagePullBackOff": "it is tried again; see that the nodes reach the registry",
    "CreateContainerConfigError": "create what is missing in this namespace, then it goes on by itself",
    _OUT_OF_MEMORY: "it needs more memory: raise the memory that is requested",
    "Evicted": "it took more than it may: raise what is requested, or the capacity of the volume",
}
"""Advice, by Kubernetes' reason."""


class Failure(msgspec.Struct, frozen=True):
    """How a container failed.

    `exit_code`: None if it is not known, for instance because the pod was evicted. `reason`: Kubernetes' reason, such as
    `OOMKilled`. `initial`: whether it is an init container. `words`: its last lines.
    `restarts`: the most restarts of any container of the pod. `advice`: what to do; None for what the reason suggests.
    """

    pod: str
    container: str
    exit_code: int | None
    reason: str
    initial: bool
    words: str
    restarts: int
    advice: str | None = None

    def text(self) -> str:
        """A sentence that describes the failure, followed by the last lines."""
        return f"{self._ended()}.{quoted(self.words)}"

    def line(self) -> str:
        """The same on one line, with the last line only."""
        *_, last = self.words.splitlines() or [""]
        return self._ended() + (f": {last}" if last else "")

    def _ended(self) -> str:
        ended = f"ended with exit code {self.exit_code}" if self.exit_code is not None else "failed"
        why = f" ({self.reason})" if self.reason not in ("", "Error") else ""
        advice = self.advice or _ADVICE.get(self.reason)
        return f"container {self.container} of pod {self.pod} {ended}{why}" + (f"; {advice}" if advice else "")


def quoted(words: str) -> str:
    """`words` as the end of a message."""
    return f" Its last lines:\n{words}" if words else ""


def live(pod: port.Object) -> bool:
    """Whether some container of it can still run."""
    return (pod.get("status") or {}).get("phase", "Pending") in ("Pending", "Running", "Unknown")


def of_component(pods: Iterable[port.Object], component: str) -> list[port.Object]:
    """The pods of a component that are not being deleted."""
    return [pod for pod in pods if pod["metadata"]["labels"].get("dyff.io/component") == component and not deleting(pod)]


def of_owner(pods: Iterable[port.Object], uid: str) -> list[port.Object]:
    """The pods that the owner with this UID created, including those that are being deleted."""
    return [pod for pod in pods if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences") or ())]


def deleting(obj: port.Object) -> bool:
    """Whether an object is being deleted."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def not_runnable(pods: Iterable[port.Object], now: datetime, patience_s: float) -> str | None:
    """Why an image cannot be run; None if no pod reports an image problem, or a retry can help.

    `patience_s`: how long a registry that denies access is retried, since the pod was given to its node.
    """
    for pod in pods:
        for _, status in _containers(pod):
            waiting = (status.get("state") or {}).get("waiting") or {}
            image = status.get("image") or _image(pod, status["name"])
            if waiting.get("reason") in _NEVER_RUNNABLE or _is_hopeless(pod, waiting, image, now, patience_s):
                reported = waiting.get("message") or waiting["reason"]
                return f"the image {image} cannot be run: {reported}; correct the image, or let the nodes pull it, and create it again"
    return None


def _is_hopeless(pod: port.Object, waiting: Mapping[str, Any], image: str, now: datetime, patience_s: float) -> bool:
    """Whether an image that could not be pulled never will be."""
    if waiting.get("reason") not in _NOT_PULLED:
        return False
    # A name can contain any of the words.
    said = str(waiting.get("message") or "").replace(f'"{image}"', "")
    said = said.replace(image, "") if _NAME_MARKS.search(image) else said
    if _PULLED_AGAIN.search(said):
        return False
    if _PULLED_LATER.search(said):
        begun = clock.parse_iso((pod.get("status") or {}).get("startTime") or pod["metadata"]["creationTimestamp"])
        return (now - begun).total_seconds() >= patience_s
    return bool(_PULLED_NEVER.search(said))


def gated(pod: port.Object) -> bool:
    """Whether a pod waits for something other than a node, such as a queue (Kueue), before it may be scheduled."""
    scheduled = conditions.get(pod, "PodScheduled") or {}
    return bool(pod["spec"].get("schedulingGates")) or scheduled.get("reason") == "SchedulingGated"


def waiting(pods: Sequence[port.Object]) -> str:
    """What the first pod that is not ready is waiting for, with advice; empty if nothing is known."""
    for pod in pods:
        found = _waits(pod)
        if found:
            return f"pod {pod['metadata']['name']}: {found}"
    return ""


def _waits(pod: port.Object) -> str:
    status = pod.get("status") or {}
    for _, each in _containers(pod):
        state = (each.get("state") or {}).get("waiting")
        if state:
            return _last_end(pod, each) if state.get("reason") == "CrashLoopBackOff" and _failed(each) else _reason(state)
    scheduled, ready = conditions.get(pod, "PodScheduled"), conditions.get(pod, conditions.READY)
    if scheduled is not None and scheduled["status"] != "True":
        return _reason(scheduled)
    phase = status.get("phase", "Pending")
    if phase == "Running" and ready is not None and ready["status"] != "True":
        return _unready(pod)
    return str(status.get("message") or "") if phase == "Pending" else ""


def _last_end(pod: port.Object, status: Mapping[str, Any]) -> str:
    ended = _failed(status) or {}
    found = _failure(pod, status, ended, initial=False, words=ended.get("message") or "", restarts=status.get("restartCount", 0))
    return f"CrashLoopBackOff: it starts again; {found.line()}"


def _unready(pod: port.Object) -> str:
    """Why a pod is not ready although it runs: a container does not answer its probe, or the node does not respond any more."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    if statuses and all(each.get("ready") for each in statuses):
        return (
            f"its node {pod['spec'].get('nodeName', '')} does not answer; if it is gone for good, delete the node from the cluster "
            f"(kubectl delete node), which removes what ran there"
        )
    for each in statuses:
        if (each.get("state") or {}).get("running") is None or each.get("ready"):
            continue
        ended = _failed(each)
        if ended is not None:
            return f"it runs again; {_failure(pod, each, ended, initial=False, words=ended.get('message') or '', restarts=0).line()}"
        probe = next((spec.get("readinessProbe") for spec in pod["spec"]["containers"] if spec["name"] == each["name"]), None)
        if probe is not None and "httpGet" in probe:
            asked = probe["httpGet"]
            said = str((conditions.get(pod, conditions.READY) or {}).get("message") or "")
            place = f"port {asked['port']}, {asked['path']}"
            if _ANSWERED in said:
                return f"container {each['name']} runs and does not answer as it should at {place}: {said}"
            return f"container {each['name']} runs and does not answer yet at {place}"
    return ""


def at_work(pod: port.Object) -> str | None:
    """The container that runs, or is about to run because an earlier one has ended well; None if the pod waits for something."""
    begun = False
    for _, each in _containers(pod):
        state = each.get("state") or {}
        waits = (state.get("waiting") or {}).get("reason")
        if "running" in state or (begun and waits in _COMES_NEXT):
            return str(each["name"])
        if (state.get("terminated") or {}).get("exitCode") != 0:
            return None
        begun = True
    return None


def lost(pods: Iterable[port.Object]) -> str:
    """A message about the first of these running pods whose node does not answer; empty if all nodes do."""
    for pod in pods:
        statuses = (pod.get("status") or {}).get("containerStatuses") or ()
        reported = _waits(pod) if statuses and all(each.get("ready") for each in statuses) else ""
        if reported:
            return f"pod {pod['metadata']['name']}: {reported}"
    return ""


def halted(pods: Iterable[port.Object], logs: Mapping[str, str]) -> Failure | None:
    """How a container failed in a pod that never ends by itself; None if there is no such pod. `logs`: as in `failure`.

    If the kernel has ended a process of a container for its memory, the kubelet starts none of those that come next, also if the
    container itself has ended with 0. But then it does not report the pod as failed, so its Job would wait until its deadline.
    """
    for pod in pods:
        if live(pod) and not deleting(pod) and pod["spec"].get("restartPolicy") == "Never":
            for initial, each in _containers(pod):
                if initial and _exhausted((each.get("state") or {}).get("terminated") or {}):
                    return failure(pod, logs)
    return None


def failure(pod: port.Object, logs: Mapping[str, str]) -> Failure | None:
    """How a container of the pod failed; None if none has. `logs`: by pod name, for containers whose status has no last lines."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    restarts = max((each.get("restartCount", 0) for _, each in _containers(pod)), default=0)
    if status.get("phase") == "Failed" and status.get("reason") in _OF_THE_POD:
        return _of_pod(pod, restarts)
    for initial, each in _containers(pod):
        ended = _failed(each, initial=initial)
        if ended is not None:
            words = ended.get("message") or logs.get(name, "")
            return _failure(pod, each, ended, initial=initial, words=words, restarts=restarts)
    return _of_pod(pod, restarts) if status.get("phase") == "Failed" else None


def _failure(pod: port.Object, status: Mapping[str, Any], ended: Mapping[str, Any], *, initial: bool, words: str, restarts: int) -> Failure:
    name, reason = pod["metadata"]["name"], ended.get("reason") or ""
    return Failure(name, status["name"], ended.get("exitCode"), reason, initial, last_lines(words), restarts)


def _of_pod(pod: port.Object, restarts: int) -> Failure:
    """How a node ended a whole pod. It counts for the container that this stopped; if no container reports it, for the last one."""
    status = pod["status"]
    words = last_lines(status.get("message") or "")
    stopped = ((initial, each["name"]) for initial, each in _containers(pod) if _failed(each, initial=initial) is not None)
    initial, container = next(stopped, (False, pod["spec"]["containers"][0]["name"]))
    return Failure(pod["metadata"]["name"], container, None, status.get("reason") or "", initial, words, restarts)


def ended_badly(pods: Iterable[port.Object]) -> int:
    """The number of pods that failed as a whole, not counting disruptions (for instance a pod that had to leave its node)."""
    return sum(1 for pod in pods if (pod.get("status") or {}).get("phase") == "Failed" and not _disrupted(pod))


def _disrupted(pod: port.Object) -> bool:
    return conditions.is_true(pod, "DisruptionTarget")


def last_failure(pods: Iterable[port.Object], logs: Mapping[str, str]) -> Failure | None:
    """The failure of the newest failed pod; None if none has failed."""
    newest_first = sorted(pods, key=lambda pod: pod["metadata"].get("creationTimestamp") or "", reverse=True)
    return next((found for pod in newest_first if (found := failure(pod, logs)) is not None), None)


def lacks_words(pod: port.Object) -> str | None:
    """The failed container whose status does not contain its last lines; None if there is none."""
    for initial, status in _containers(pod):
        ended = _failed(status, initial=initial)
        if ended is not None:
            return None if ended.get("message") else str(status["name"])
    return None


def last_lines(text: str) -> str:
    """The end of `text`, at most `MAX_WORDS_BYTES` long, in whole lines if possible."""
    data = text.strip().encode()
    if len(data) <= MAX_WORDS_BYTES:
        return data.decode()
    tail = data[-MAX_WORDS_BYTES:].decode(errors="ignore")
    _, newline, rest = tail.partition("\n")
    return rest if newline and rest else tail


def _containers(pod: port.Object) -> Iterator[tuple[bool, dict[str, Any]]]:
    """For each container, whether it is an init container, and its status. In the order in which they start."""
    status = pod.get("status") or {}
    for each in status.get("initContainerStatuses") or ():
        yield True, each
    for each in status.get("containerStatuses") or ():
        yield False, each


def _failed(status: Mapping[str, Any], *, initial: bool = False) -> dict[str, Any] | None:
    """The `terminated` state of a container whose present or previous run ended with an error; None if it did not."""
    for key in ("state", "lastState"):
        ended: dict[str, Any] | None = (status.get(key) or {}).get("terminated")
        if ended is not None:
            return ended if ended.get("exitCode") != 0 or (initial and _exhausted(ended)) else None
    return None


def _exhausted(ended: Mapping[str, Any]) -> bool:
    """Whether the kernel has ended a process of this container for its memory, but not the first one, which decides the exit code."""
    return ended.get("exitCode") == 0 and ended.get("reason") == _OUT_OF_MEMORY


def _image(pod: port.Object, container: str) -> str:
    spec = pod["spec"]
    named = {each["name"]: each["image"] for each in (*(spec.get("initContainers") or ()), *spec["containers"])}
    return str(named.get(container, "of container " + container))


def _reason(state: Mapping[str, Any]) -> str:
    reported = ": ".join(str(state[key]) for key in ("reason", "message") if state.get(key))
    advice = _ADVICE.get(state.get("reason") or "")
    return f"{reported}; {advice}" if advice else reported
