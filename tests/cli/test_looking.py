"""`dyff why` and `dyff samples` on answers as a server gives them."""

from __future__ import annotations

import json

import pytest

from dyff.cli import reporting
from tests.cli.test_commands import ENTITY, ID, dyff_command

__all__ = ["dyff_command"]

HOSTILE = "a\x1b[2J\u202eb"
WAITING = {**ENTITY, "status": "Created", "reason": "QuotaLimit", "message": f"Account quota exceeded: 8/8 {HOSTILE}"}
NEED = {"id": "b" * 32, "visible": True, "required": True, "kind": "Dataset", "name": HOSTILE, "status": "Ready"}
STATUS = {"time": "2026-01-01T00:00:00.123456Z", "status": "Created", "reason": "QuotaLimit", "message": HOSTILE, "by": "me"}
USED = {"used": "8", "limit": "8"}
ABOUT = {
    f"/evaluations/{ID}": WAITING,
    f"/evaluations/{ID}/dependencies": {"needs": [NEED, {"id": "c" * 32, "visible": False}]},
    f"/evaluations/{ID}/history": {"history": [STATUS] * 7, "next": None},
    f"/evaluations/{ID}/progress": {"stage": "Created", "done": 3, "total": 20, "message": f"retries {HOSTILE}"},
    "/accounts/me/quotas": {"admitted": USED, "cpu": {"used": "1", "limit": None}, "memory": USED, "accelerators": {}},
}


def test_why_says_what_it_waits_for(dyff_command):
    """In words, with what it needs, its quota, the last statuses and what to do; nothing of others is printed raw."""
    done = dyff_command("why", "evaluation", ID, answers=ABOUT)
    assert done.exit_code == 0, done.output
    assert not [char for char in done.output if not char.isprintable() and char != "\n"]
    for words in (
        f"Evaluation {ID}: Created, QuotaLimit", "other workflows of its account have ended", "Account quota exceeded: 8/8", "retries",
        "3 of 20 items", "not visible", "workflows  8     8", "2026-01-01T00:00:00Z", "dyff ls evaluation --account me --status Admitted",
    ):  # fmt: skip
        assert words in done.output
    assert "cores" not in done.output  # unlimited
    assert done.output.count("2026-01-01") == 5


def test_why_is_a_document_for_programs(dyff_command):
    """With all that it read, and without what the token may not see."""
    answers = {path: answer for path, answer in ABOUT.items() if not path.startswith("/accounts")}
    found = json.loads(dyff_command("why", "evaluation", ID, "--json", answers=answers).stdout)
    assert (found["status"], found["reason"], found["quotas"], len(found["events"])) == ("Created", "QuotaLimit", None, 5)
    assert found["needs"][0]["id"] == "b" * 32
    assert found["next"]


def sample(index):
    text = {"name": "text", "kind": "text", "value": HOSTILE, "bytes": 9}
    return {"index": index, "replication": "f" * 32, "number": 0, "item": [text], "responses": [[text]]}


def pages(*counts):
    """Pages with so many samples, each after the one before; a search can find none in one."""
    found, index = {}, 0
    for number, count in enumerate(counts):
        last = number == len(counts) - 1
        found[str(number) if number else None] = {
            "samples": [sample(index + n) for n in range(count)], "next": None if last else str(number + 1), "looked": 25,
            "missing": [{"what": "item", "why": f"no grant {HOSTILE}"}],
        }  # fmt: skip
        index += count
    return found


@pytest.fixture
def paged(dyff_command, monkeypatch):
    """Runs `dyff samples` on pages; the parameters of the requests are in `.asked`."""

    def run(*options, counts):
        from dyff.sdk import models
        from dyff.sdk.kinds import evaluation

        known, asked = pages(*counts), []

        def page(self, entity_id, **given):
            asked.append(given)
            return models.read(known[given["after"]], models.Samples)

        monkeypatch.setattr(evaluation.Evaluations, "samples_page", page)
        return dyff_command("samples", ID, *options), asked

    return run


def test_a_search_goes_on_until_it_has_enough(paged):
    """Over pages without any; then it says how to go on, and each reason why something is not shown once."""
    done, asked = paged("--text", "x", "--limit", "3", counts=[0, 2, 1, 5])
    assert done.exit_code == 0, done.output
    assert [each["limit"] for each in asked] == [3, 3, 1]
    assert [line.split()[0] for line in done.stdout.splitlines() if line[:1].isdigit()] == ["0.0", "1.0", "2.0"]
    assert "--after 3 goes on" in done.stderr
    assert done.stderr.count("not shown: item") == 1
    assert not [char for char in done.output if not char.isprintable() and char != "\n"]


def test_the_end_is_not_announced_as_more(paged):
    """And nothing found is said."""
    done, _ = paged("--errors", counts=[0])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no samples like that" in done.stderr
    assert "--after" not in done.stderr


def test_samples_are_a_document_for_programs(paged):
    """With the cursor."""
    done, asked = paged("--score", "correct", "--value", "false", "--max", "0.5", "--json", "--limit", "1", counts=[1, 1])
    found = json.loads(done.stdout)
    assert ([each["index"] for each in found["samples"]], found["next"]) == ([0], "1")
    assert (asked[0]["score"], asked[0]["value"], asked[0]["most"]) == ("correct", "false", 0.5)


def test_one_index_has_whole_values(dyff_command):
    """From the route that has them, and only the replication that is asked for."""
    both = [sample(7), {**sample(7), "number": 1, "replication": "e" * 32}]
    answers = {f"/evaluations/{ID}/samples/7": {"samples": both}}
    assert len(json.loads(dyff_command("samples", ID, "--index", "7", "--json", answers=answers).stdout)["samples"]) == 2
    for name in ("1", "e" * 32):
        done = dyff_command("samples", ID, "--index", "7", "--replication", name, answers=answers)
        assert done.stdout.startswith("7.1\n"), done.output


@pytest.mark.parametrize(
    "options", [["--min", "1"], ["--value", "x"], ["--index", "-1"], ["--limit", "0"], ["--score", "a", "--min", "nan"], ["--max", "inf"]]
)
def test_options_that_mean_nothing(dyff_command, options):
    """Nothing is sent."""
    done = dyff_command("samples", ID, *options)
    assert (done.exit_code, dyff_command.asked) == (reporting.WRONG, [])
