from __future__ import annotations

import json
import sys

import pytest

from tests.conftest import summary
from tests.engines import containers, fleet
from tests.engines.fakes import FakeRecipe, visits
from tests.engines.recipes import EngineError


def test_the_tests_learn_where_and_what(recipe):
    """The recipe's variable says where the server is, and the summary of the run gets its version for each adapter."""
    with fleet.running([recipe], required=True) as started:
        variables = started.variables()
        assert visits(variables["DYFF_TEST_FAKE"]) == 2
        assert json.loads(variables["DYFF_TEST_SERVERS"]) == {"bus:fake": "Fake 1.0"}
        assert f"bus:fake  Fake 1.0  {variables['DYFF_TEST_FAKE']}" in started.table()


def test_the_table_shows_no_password(recipe):
    """Credentials are in the variables only."""
    row = fleet.Row(recipe, "Fake 1.0", "http://name:secret@127.0.0.1:7000/bucket")
    table = fleet.Fleet(recipe.folder, [row]).table()
    assert "127.0.0.1:7000" in table
    assert "secret" not in table


def test_the_summary_reports_how_many_tests_ran_on_which_server():
    """A server serves a family of adapters; one on which no test ran is shown, too."""
    rows = summary(
        {"query:mongo-motor": 3, "query:mongo-pymongo": 4, "bus:embedded": 5},
        {"query:mongo": "SecantusDB 1", "accounts:mongo": "SecantusDB 1", "bus:kafka": "Kafka 2"},
    )
    assert [row.split() for row in rows] == [
        ["accounts:mongo", "SecantusDB", "1", "0"],
        ["bus:embedded", "5"],
        ["bus:kafka", "Kafka", "2", "0"],
        ["query:mongo-motor", "SecantusDB", "1", "3"],
        ["query:mongo-pymongo", "SecantusDB", "1", "4"],
    ]


def test_a_missing_server_is_left_out_or_an_error(recipe):
    """On a laptop the others run and the reason is printed; where it is required, nothing runs."""
    lacking = FakeRecipe(recipe.folder)
    lacking.programs = ("no-such-java",)
    with fleet.running([lacking, recipe], required=False) as started:
        assert [row.recipe for row in started.rows] == [recipe]
        assert "NOT HERE, its tests are skipped: Fake 1.0: no-such-java not found" in started.table()
    with pytest.raises(EngineError, match=r"must be here: Fake 1\.0: no-such-java"), fleet.running([recipe, lacking], required=True):
        pytest.fail("one is missing")


def test_a_server_of_yours_is_used_as_it_is(recipe, monkeypatch):
    """Where the variable is set already nothing is built or started."""
    monkeypatch.setenv("DYFF_TEST_FAKE", "127.0.0.1:1")
    with fleet.running([recipe], required=True) as started:
        assert started.variables()["DYFF_TEST_FAKE"] == "127.0.0.1:1"
    assert recipe.builds == 0


def test_data_are_removed_and_logs_stay(recipe, cache):
    """The logs of the last runs can be read afterwards, while the data are gone; also those of a run that was killed."""
    left = cache / "runs/killed/fake/data"
    left.mkdir(parents=True)
    with fleet.running([recipe], required=True):
        assert not left.exists()
        assert list(cache.glob("runs/*/fake/data"))
    assert not list(cache.glob("runs/*/fake/data"))
    (log,) = cache.glob("runs/*/fake/server.log")
    assert "a line of the log" in log.read_text()


def test_the_data_of_a_run_at_the_same_time_stay(recipe):
    """Tidying up leaves alone what runs."""
    with fleet.running([recipe], required=True) as one, fleet.running([recipe], required=True) as two:
        assert one.folder != two.folder
        assert (one.folder / "fake/data").exists()


def test_only_the_last_logs_are_kept(recipe, cache, monkeypatch):
    """The folder of runs does not grow for ever."""
    monkeypatch.setattr(fleet, "_KEPT_LOGS", 2)
    for _ in range(4):
        with fleet.running([recipe], required=True):
            pass
    assert len([each for each in (cache / "runs").iterdir() if each.is_dir()]) == 2


@pytest.mark.parametrize(("choice", "want"), [("docker", True), ("native", False)])
def test_containers_are_chosen_by_a_variable(choice, want, monkeypatch):
    """`DYFF_ENGINES` decides; without it, whether a Docker engine answers."""
    monkeypatch.setenv("DYFF_ENGINES", choice)
    assert containers.wanted() is want


def test_a_wrong_choice_is_reported(monkeypatch):
    """A misspelt value is an error that names the right ones."""
    monkeypatch.setenv("DYFF_ENGINES", "dokcer")
    with pytest.raises(EngineError, match="auto, docker or native"):
        containers.wanted()


@pytest.mark.parametrize(("script", "want"), [("exit 0", True), ("exit 1", False)])
def test_containers_are_used_if_the_engine_answers(script, want, tmp_path, monkeypatch):
    """A docker command without its engine is no reason to use containers."""
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DYFF_ENGINES", "auto")
    assert containers.wanted() is want


def test_nothing_of_a_vendor_is_loaded_without_containers():
    """testcontainers is imported only where it is used."""
    assert "testcontainers" not in sys.modules
