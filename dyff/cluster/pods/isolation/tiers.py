"""Chooses the tier: the best one that withstands the attacks on this machine, or the one that the settings name."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from dyff.cluster.pods.isolation import advice, bwrap, describing, machine, probing
from dyff.kernel import settings

ORDER = ("bubblewrap", "landlock")
WARNING = (
    "programs of accounts are not isolated: every account that can create a service can read and change everything that this server "
    "can, with its signing key and the data of all accounts"
)


class Tried(msgspec.Struct, frozen=True):
    """A tier that was probed. `fix`: what to do so that it holds; empty if it does."""

    sandboxes: describing.Sandboxes
    examination: probing.Examination
    fix: str = ""

    @property
    def name(self) -> str:
        """The name of the tier."""
        return str(self.sandboxes.tier)

    @property
    def reason(self) -> str:
        """Why the tier holds, or why not."""
        found = self.examination
        if found.problem is not None:
            return found.problem
        succeeded = [f"{name}: {what}" for name, what in found.attacks.items() if what]
        if succeeded:
            return f"{len(succeeded)} of {len(found.attacks)} attacks succeeded ({'; '.join(succeeded)})"
        return f"all {len(found.attacks)} attacks were refused"


def choose(pods: settings.Pods, root: Path, hidden: Sequence[str], python: str = sys.executable) -> describing.Sandboxes:
    """How this server confines programs of accounts. `root`: the directory of the pods. `hidden`: see `Sandboxes`. Blocks for a fraction
    of a second.
    """
    tried: list[Tried] = []
    for tier in wanted(pods):
        tried.append(probe(tier, pods, root, hidden, python))
        if tried[-1].examination.holds:
            break
    return best(pods, tried)


def wanted(pods: settings.Pods) -> tuple[str, ...]:
    """The tiers that the settings allow, the best first."""
    return {"auto": ORDER, "none": ()}.get(pods.isolation, (pods.isolation,))


def best(pods: settings.Pods, tried: Sequence[Tried]) -> describing.Sandboxes:
    """What follows from the tiers that were tried, the best first. `pods.isolation` says which of them count."""
    if pods.isolation == "none":
        return msgspec.structs.replace(describing.UNCONFINED, reason=f"the setting pods.isolation is none: {WARNING}")
    failed: list[Tried] = []
    for each in tried:
        if each.name not in wanted(pods):
            continue
        if each.examination.holds:
            return msgspec.structs.replace(each.sandboxes, reason=_chosen(each, failed))
        failed.append(each)
    words = ". ".join(f"{each.name} does not hold: {each.reason}; {each.fix}" for each in failed)
    reason = f"programs of accounts cannot be confined on this machine, so they are refused. {words}. See 'dyff docs containment'"
    return describing.Sandboxes(tier=None, reason=reason)


def _chosen(found: Tried, before: Sequence[Tried]) -> str:
    others = "".join(f"; {each.name} does not hold: {each.reason}" for each in before)
    user = ", each pod under a user of its own" if found.sandboxes.own_users else ""
    return f"{found.reason}{user}{others}"


def probe(tier: str, pods: settings.Pods, root: Path, hidden: Sequence[str], python: str = sys.executable) -> Tried:
    """Try one tier. In the tier landlock, root can give each pod a user of its own only if that user can reach the pod's files."""
    is_root = os.getuid() == 0
    for own_users in (True, False) if is_root and tier == "landlock" else (is_root,):
        subject = describing.Sandboxes(
            tier="bubblewrap" if tier == "bubblewrap" else "landlock",
            reason="",
            bwrap=bwrap.find() if tier == "bubblewrap" else None,
            own_users=own_users,
            hidden=tuple(os.path.realpath(path) for path in hidden),
            limits=pods.limits,
        )
        found = _examined(subject, pods, root, python)
        if found.examination.holds:
            break
    return found


def _examined(subject: describing.Sandboxes, pods: settings.Pods, root: Path, python: str) -> Tried:
    problem = _impossible(subject)
    found = probing.Examination(problem=problem) if problem else _attempted(subject, pods, root, python)
    if problem is None and found.problem is not None:  # a machine that is short of something for a moment is no other machine
        found = _attempted(subject, pods, root, python)
    return Tried(subject, found, "" if found.holds else advice.fix(str(subject.tier), found.problem or ""))


def _attempted(subject: describing.Sandboxes, pods: settings.Pods, root: Path, python: str) -> probing.Examination:
    try:
        return probing.examine(subject, pods, root, python)
    except OSError as error:
        return probing.Examination(problem=f"the probe cannot be made: {error}")


def _impossible(subject: describing.Sandboxes) -> str | None:
    """Why this tier cannot even be tried; None if it can."""
    if sys.platform != "linux":
        return "sandboxes need Linux"
    if subject.tier == "bubblewrap" and subject.bwrap is None:
        return "there is no program bwrap on this machine"
    shown = next((path for path in subject.hidden if machine.overlaps(path, ("/usr",))), None)
    return f"{shown} belongs to the server, and is below /usr, which every sandbox shows" if shown else None
