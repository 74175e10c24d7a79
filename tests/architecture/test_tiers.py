"""Which tests are long."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiers
from tests.architecture.test_spreading import A

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("item", "want"),
    [
        (A("tests/kernel/test_ids.py::test_a"), False),
        (A("tests/kernel/test_first_uses.py::test_a[0]", "slow"), True),
        (A("tests/acceptance/test_backup.py::test_a", "acceptance"), True),
        (A("tests/acceptance/test_kill_9.py::test_a[bus:embedded]", "faults"), False),
        (A("tests/acceptance/test_guide.py::test_the_readme", "acceptance"), False),
        (A("tests/acceptance/test_guide.py::test_the_readme_and_more", "acceptance"), True),
        (A("tests/pods/test_running.py::test_a", "programs"), True),
        (A("tests/pods/test_running_pods.py::test_a", "programs"), False),
        (A("tests/console/test_browser.py::test_sign_in_look_edit_and_sign_out[light-1280]", "programs"), False),
        (A("tests/console/test_browser.py::test_sign_in_look_edit_and_sign_out[dark-390]", "programs"), True),
    ],
)
def test_what_is_of_the_whole_system_or_costly_is_long(item, want):
    """But for the paths that `make test` runs, whose names are those of files, tests or cases, whole."""
    assert tiers.is_long(item) == want


def test_what_is_listed_exists():
    """A file or test that was renamed would silently be in another run."""
    for each in (*tiers.PATHS, *tiers.COSTLY, *tiers.ANSWERS):
        file, _, test = each.partition("::")
        text = (ROOT / file).read_text()
        assert f"def {test.partition('[')[0]}" in text, each
    assert list(tiers.COSTLY) == sorted(set(tiers.COSTLY))
    assert list(tiers.ANSWERS) == sorted(set(tiers.ANSWERS))
