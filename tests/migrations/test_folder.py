"""The files of `migrations/`, and that nobody changes what is stored without one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest
from hatchling.builders.wheel import WheelBuilder

from dyff.accounts import embedded as accounts
from dyff.accounts.mongo import store as accounts_mongo
from dyff.bus import topics
from dyff.cluster.embedded import store as cluster
from dyff.entities import registry
from dyff.query.mongo import stored
from dyff.serve import migrating, numbered

ROOT = Path(__file__).parents[2]
STORES = {"bus", "query:mongodb", "accounts:mongodb", "accounts:sqlite", "cluster:sqlite"}

SCHEMA = {
    "topics": "33235223041c00be",
    "indexes of the query store": "02b227c5bf1f0b20",
    "indexes of the accounts": "734c871d2106a39d",
    "tables of the accounts": "52f8a25cd5b6e257",
    "tables of the cluster": "83b595a02558ebaf",
}
"""Digests of what the migrations lead to."""


def digest(given: object) -> str:
    return hashlib.sha256(msgspec.json.encode(given, order="sorted")).hexdigest()[:16]


WANTED = {
    "topics": [topics.SCHEMA_SPEC, *topics.specs(4)],
    "indexes of the query store": {row.plural: stored.indexes(row) for row in registry.ROWS},
    "indexes of the accounts": accounts_mongo._INDEXES,
    "tables of the accounts": [accounts._VERSION, accounts._SCHEMA],
    "tables of the cluster": [cluster.SCHEMA_VERSION, cluster._SCHEMA],
}


@pytest.mark.parametrize("what", SCHEMA)
def test_what_is_stored_changes_only_by_a_migration(what):
    """A change of a topic, an index or a table comes with a migration for existing installations, then a digest here."""
    assert digest(WANTED[what]) == SCHEMA[what], f"{what} changed: add a file to migrations/ (docs/migrations.md), then set the digest here"


def test_every_migration_says_what_it_does():
    """Numbers without a gap, a line of description, and steps for stores that exist."""
    loaded = numbered.load()
    assert loaded
    for each in loaded:
        assert each.description
        assert {*each.pre, *each.post} <= STORES
        assert each.pre or each.post


@pytest.mark.parametrize("names", [["0002_b"], ["0001_a", "0003_c"], ["0001_a", "0001_b"], ["0001_a", "later"], []])
def test_a_gap_in_the_numbers_is_refused(tmp_path, names):
    """Two that were made at the same time cannot have the same number, and none can be forgotten."""
    for each in names:
        (tmp_path / f"{each}.py").write_text('"""Nothing."""\nPRE = {}\nPOST = {}\n')
    with pytest.raises(ValueError, match=r"must begin with 000\d_|there are no migrations"):
        numbered.load(tmp_path)


def test_an_installed_wheel_has_them(tmp_path):
    """The folder at the top of the checkout is in the wheel, where the installed program finds it."""
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    script = "from dyff.serve import numbered; print(numbered.folder(), *(each.name for each in numbered.load()))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    reported = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    folder, *names = reported.stdout.split()
    assert Path(folder).is_relative_to(tmp_path)
    assert names == [each.name for each in numbered.load()]


def test_the_release_is_reported():
    """What is recorded names the release that did it."""
    assert migrating.release()[0].isdigit()
