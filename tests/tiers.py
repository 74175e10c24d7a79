"""Which tests `make test` leaves to `make test-long` (ADR 49).

The rule: a test of the whole system is long, and so is each test of a file that starts programs and costs more than five seconds of a
processor, and each large table of the answers of others. Of the whole system `make test` runs the paths that people take, and no more.
"""

from __future__ import annotations

from typing import Protocol

WHOLE = ("acceptance", "faults", "slow")
"""The markers of tests of the whole system."""

PATHS = (
    "tests/acceptance/test_tutorial.py",  # the published client and ours, a method, a notebook: all of docs/tutorial.md
    "tests/acceptance/test_guide.py::test_the_readme",  # its own lines
    "tests/acceptance/test_published_client.py::test_an_evaluation_ends_with_verified_outputs",
    "tests/acceptance/test_serve.py::test_it_stops_cleanly[15]",
    "tests/acceptance/test_kill_9.py",
    "tests/console/test_browser.py::test_sign_in_look_edit_and_sign_out[light-1280]",
)
"""Files or tests that `make test` runs although they are of the whole system or costly. Each is the path of one sort of person."""

COSTLY = (
    "tests/analyses/test_decorated.py",
    "tests/analyses/test_failures.py",
    "tests/analyses/test_functions.py",
    "tests/analyses/test_memory.py",
    "tests/analyses/test_notebooks.py",
    "tests/analyses/test_statistics.py",
    "tests/api/samples/test_samples.py",
    "tests/api/test_comparables.py",
    "tests/api/test_comparisons.py",
    "tests/console/test_browser.py",
    "tests/console/test_compare.py",
    "tests/console/test_form.py",
    "tests/console/test_hostile.py",
    "tests/console/test_samples.py",
    "tests/engines/test_command.py",
    "tests/pages/test_hostile.py",
    "tests/pages/test_invited.py",
    "tests/pages/test_other_systems.py",
    "tests/pods/hostile/test_environment.py",
    "tests/pods/hostile/test_limits.py",
    "tests/pods/hostile/test_remains.py",
    "tests/pods/hostile/test_tiers.py",
    "tests/pods/test_as_regular_user.py",
    "tests/pods/test_door.py",
    "tests/pods/test_lifecycle.py",
    "tests/pods/test_running.py",
    "tests/pods/test_sandboxed_pods.py",
    "tests/pods/test_survival.py",
    "tests/pods/test_template.py",
    "tests/pods/test_tiers.py",
    "tests/roles/test_analyses_with_real_pods.py",
    "tests/roles/test_operator_with_real_pods.py",
    "tests/sdk/test_interruptions.py",
    "tests/sdk/test_types.py",
    "tests/serving/test_commands.py",
    "tests/serving/test_extras.py",
    "tests/serving/test_manuals.py",
    "tests/serving/test_odd_paths.py",
    "tests/serving/test_watchdog.py",
    "tests/wheels/test_contents.py",
    "tests/wheels/test_elsewhere.py",
    "tests/workflows/test_evaluation_troubles.py",
    "tests/workflows/test_fetch_git.py",
    "tests/workflows/test_fetch_model.py",
    "tests/workflows/test_odd_answers.py",
)
"""Files that start programs and cost more than five seconds of a processor: the summary of each run shows what a file costs."""

ANSWERS = (
    "tests/adapters/test_against_published.py",
    "tests/cluster/test_kubernetes_odd_answers.py",
    "tests/objects/test_cloud.py",
    "tests/objects/test_cloud_codes.py",
    "tests/roles/test_operator_and_answers.py",
    "tests/roles/test_orchestrator_and_answers.py",
)
"""Tables of everything that another program can answer, which cost more than ten seconds. What it usually answers is in other tests."""


class Item(Protocol):
    """What is needed of a test."""

    nodeid: str

    def get_closest_marker(self, name: str) -> object:
        """The marker, or None."""


def is_long(item: Item) -> bool:
    """Whether only `make test-long` runs it, unless it needs a real server (`make test-engines`)."""
    if any(_is_of(item.nodeid, path) for path in PATHS):
        return False
    return any(item.get_closest_marker(name) for name in WHOLE) or any(_is_of(item.nodeid, file) for file in (*COSTLY, *ANSWERS))


def _is_of(nodeid: str, name: str) -> bool:
    """Whether a test is that one, one of its cases, or one of that file."""
    return nodeid == name or nodeid.startswith((f"{name}[", f"{name}::"))
