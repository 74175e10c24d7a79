"""The attacks that the server tries at its start, run by pods of each tier, and without a sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dyff.cluster.pods.isolation import bwrap, describing, targets
from dyff.cluster.pods.shim import landlock
from dyff.kernel import settings
from tests.threads import in_a_thread

CHECKOUT = Path(__file__).parents[3]
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
TIERS = [
    pytest.param("bubblewrap", marks=pytest.mark.skipif(bwrap.find() is None, reason="this machine has no bwrap")),
    pytest.param("landlock", marks=pytest.mark.skipif(landlock.abi() < landlock.ABI_SCOPE, reason="this kernel's Landlock is too old")),
]
HARMLESS = (
    *("read_a_secret_file", "list_a_foreign_folder", "read_through_a_link", "link_a_secret_file"),
    *("read_through_proc", "read_environments", "write_into_a_foreign_folder", "change_a_foreign_file"),
    *("change_foreign_attributes", "watch_a_foreign_folder", "see_other_processes", "signal_other_processes"),
    *("trace_other_processes", "change_limits_of_others", "share_memory_with_others", "connect_by_tcp"),
    *("connect_by_fast_open", "connect_to_unix_sockets", "listen_on_foreign_ports"),
)
"""Attacks that leave nothing behind if they succeed."""


def test_the_attacks_are_real(tmp_path):
    """Without a sandbox, the attacks reach what was placed for them: a probe that can only fail would prove nothing."""
    with targets.placed() as placed:
        missed: dict[Any, Any] = {}
        for name in HARMLESS:
            where = tmp_path / name
            where.mkdir()
            command = [sys.executable, "-I", "-S", "-c", targets.BOOT, str(CHECKOUT), *placed.arguments(name)]
            done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=True)
            missed |= {each: None for each, reached in json.loads(done.stdout).items() if not reached}
        if os.getuid() != 0:
            missed.pop("trace_other_processes", None)  # the machine can forbid that to ordinary users
        assert missed == {}
        assert set(placed.reached('{"a": null}')) == {"arrivals"}


@pytest.mark.parametrize("output", ["", "null", "{}", "[]", "Traceback", '{"read_a_secret_file": null'])
def test_an_answer_that_is_missing_is_not_a_success(output):
    """If the attacks were not all tried, the sandbox counts as not held."""
    with targets.placed() as placed:
        assert set(placed.reached(output)) == {"attacks"}


@pytest.mark.parametrize("tier", TIERS)
async def test_no_attack_succeeds_in_a_pod(lab, tier):
    """A confined pod reaches nothing of the server, of another pod, of the machine or of the network, by any of the attacks."""
    code = str(CHECKOUT) if tier == "landlock" else "/opt/dyff/code"
    images = {"test/py": settings.Image(command=(PYTHON, "-I", "-S", "-c"), readiness_path=None, paths=(str(CHECKOUT / "dyff"),))}
    own = os.getuid() == 0 and (tier == "bubblewrap")
    sandboxes = describing.Sandboxes(tier=tier, reason="a test", bwrap=bwrap.find(), own_users=own)
    async with in_a_thread(targets.placed(outside=("1.1.1.1",))) as placed:
        args = [each.replace("$", "$$") for each in (targets.BOOT, code, *placed.arguments())]
        async with lab.running(sandboxes, images=images):
            await lab.create(lab.a_pod("p", {"name": "main", "image": "test/py", "args": args, "ports": [{"containerPort": 8000}]}))
            status = await lab.ended("p")
            lines = await lab.logs("p")
        assert placed.reached("\n".join(lines)) == {}, status
