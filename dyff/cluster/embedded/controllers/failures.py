"""What a failed Pod means for its Job: `spec.podFailurePolicy`. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from dyff.cluster import conditions, port
from dyff.cluster.embedded.controllers import podstates


class Action(msgspec.Struct, frozen=True):
    """`Count`: it counts towards `backoffLimit`. `Ignore`: retry without counting it. `FailJob`: give up, with `message` as the reason."""

    kind: Literal["Count", "Ignore", "FailJob"]
    message: str = ""


COUNT = Action("Count")


def action(job: port.Object, pod: port.Object) -> Action:
    """The action of the first rule that matches the Pod."""
    for index, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        match = _exit_code(rule["onExitCodes"], pod) if "onExitCodes" in rule else _pod_condition(rule.get("onPodConditions") or (), pod)
        if match is not None:
            return Action(rule["action"], f"{match} matching {rule['action']} rule at index {index}")
    return COUNT


def _exit_code(rule: dict[str, Any], pod: port.Object) -> str | None:
    for each in podstates.container_statuses(pod):
        code = ((each.get("state") or {}).get("terminated") or {}).get("exitCode", 0)
        if code == 0 or rule.get("containerName") not in (None, each["name"]):
            continue
        if (code in rule["values"]) == (rule["operator"] == "In"):
            return f"Container {each['name']} for pod {pod['metadata']['name']} failed with exit code {code}"
    return None


def _pod_condition(patterns: Any, pod: port.Object) -> str | None:
    held = {(kind, each["status"]) for kind, each in conditions.by_type(pod).items()}
    for each in patterns:
        if (each["type"], each.get("status", "True")) in held:
            return f"Pod {pod['metadata']['name']} has condition {each['type']}"
    return None
