"""The release of the platform in the record of a run."""

from __future__ import annotations

from importlib import metadata

import pytest

from dyff.workflows import releases

RECORDS = {
    "no record of where it is from": (None, None),
    "from a folder": ('{"url": "file:///x", "dir_info": {"editable": true}}', None),
    "from a repository": ('{"url": "https://x/y", "vcs_info": {"vcs": "git", "commit_id": "0f"}}', "0f"),
    "a record that is none": ("{", None),
    "another form": ('{"vcs_info": {"commit_id": 5}}', None),
    "no object": ("[]", None),
}


@pytest.mark.parametrize("name", RECORDS)
def test_the_commit_is_that_of_the_installation(name):
    """The case's name is the rule."""
    record, want = RECORDS[name]
    assert releases.commit(record) == want


def test_the_release_is_the_installed_one():
    """Its version is what pip says."""
    assert releases.platform()["version"] == metadata.version("dyff-platform")
