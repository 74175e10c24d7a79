"""`dyff.stats.score`: what it writes next to the output, and what it refuses. tests/analyses/test_statistics.py has real runs."""

from __future__ import annotations

import json

import pytest

from dyff import stats
from dyff.stats import recording
from dyff.stats.unfit import Unfit

ESTIMATE = stats.proportion([1, 0, 1, 1])


class Shown:
    """Stands for the published AnalysisContext: keeps what it was given."""

    def __init__(self, path):
        self.output_path = path
        self.scores = []

    def Score(self, **given):  # the name of the published method
        self.scores.append(given)


@pytest.fixture
def running(tmp_path, monkeypatch):
    """A method that is running; returns the folder of its output."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"spec": {"id": "x1"}}))
    monkeypatch.setenv("DYFF_AUDIT_ANALYSIS_CONFIG_FILE", str(config))
    monkeypatch.setenv("DYFF_AUDIT_LOCAL_STORAGE_ROOT", str(tmp_path))
    return tmp_path / "x1"


def test_a_score_is_stored_with_its_interval(running):
    """In the folder of the output, with the interval behind the words, and a second one after it."""
    stats.score("accuracy", ESTIMATE, "how often it is right")
    stats.score("again", ESTIMATE, "x")
    first, second = json.loads((running / ".dyff" / recording.FILE).read_text())["estimates"]
    assert first == {
        "name": "accuracy", "quantity": 0.75, "text": f"how often it is right ({ESTIMATE.interval()}; n = 4)",
        "estimate": ESTIMATE.document(),
    }  # fmt: skip
    assert second["name"] == "again"


def test_a_long_text_is_kept_and_the_interval_left_out(running):
    """The published limit is 280 characters; the interval is stored in any case."""
    text = "x" * 270
    stats.score("accuracy", ESTIMATE, text)
    [entry] = json.loads((running / ".dyff" / recording.FILE).read_text())["estimates"]
    assert (entry["text"], entry["estimate"]) == (text, ESTIMATE.document())


def test_a_notebook_shows_it(tmp_path):
    """Its context gets the words with the interval and says where the output is."""
    context = Shown(tmp_path)
    stats.score("accuracy", ESTIMATE, "how often", context=context, display=False)
    assert context.scores == [
        {"quantity": 0.75, "text": f"how often ({ESTIMATE.interval()}; n = 4)", "output": "accuracy", "display": False}
    ]
    assert (tmp_path / ".dyff" / recording.FILE).exists()


def test_a_score_is_stored_once(running):
    """A second one of the same name would silently win or lose."""
    stats.score("accuracy", ESTIMATE, "x")
    with pytest.raises(Unfit, match="output is 'accuracy', which was stored before"):
        stats.score("accuracy", ESTIMATE, "x")


def test_a_text_has_a_limit(running):
    """The platform would refuse it after the run."""
    with pytest.raises(Unfit, match="text has 281 characters; give at most 280"):
        stats.score("accuracy", ESTIMATE, "x" * 281)


def test_without_a_run_there_is_nowhere_to_store_it(monkeypatch):
    """The message says how to run it."""
    for name in ("DYFF_AUDIT_ANALYSIS_CONFIG_FILE", "DYFF_AUDIT_LOCAL_STORAGE_ROOT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Unfit, match=r"no method is running here, since .* is not set. .*dyff method test"):
        stats.score("accuracy", ESTIMATE, "x")
