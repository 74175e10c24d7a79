"""Log lines of code that works on one entity, pod or request have its trace, its entity and its account."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEVELS = ("debug", "info", "warning", "error", "critical", "exception")
PLACES = ("api", "consumers", "operator", "cluster/embedded/controllers", "cluster/pods")

BOUND = {
    "api/answers.py": "api/tracing.py",
    "api/arrow.py": "api/tracing.py",
    "api/exports/columns.py": "api/tracing.py",
    "api/contents.py": "api/tracing.py",
    "api/problems.py": "api/tracing.py",
    "api/quotas.py": "api/tracing.py",
    "api/routes/system.py": "api/tracing.py",
    "api/samples/asking.py": "api/tracing.py",
    "api/sockets.py": "api/tracing.py",
    "cluster/embedded/controllers/garbage.py": "cluster/embedded/controllers/garbage.py",
    "cluster/embedded/controllers/reconciling.py": "cluster/embedded/controllers/reconciling.py",
    "cluster/embedded/controllers/services.py": "cluster/embedded/controllers/services.py",
    "cluster/pods/directory.py": "cluster/pods/worker.py",
    "cluster/pods/worker.py": "cluster/pods/worker.py",
    "consumers/common/mirror.py": "consumers/common/mirror.py",
    "consumers/common/outcomes.py": "consumers/common/outcomes.py",
    "consumers/orchestrator/collecting.py": "consumers/orchestrator/finishing.py",
    "consumers/orchestrator/items.py": "consumers/orchestrator/items.py",
    "consumers/orchestrator/measuring.py": "consumers/orchestrator/measuring.py",
    "consumers/orchestrator/questions.py": "consumers/orchestrator/questions.py",
    "consumers/orchestrator/reconciler.py": "consumers/orchestrator/reconciler.py",
    "consumers/orchestrator/sweep.py": "consumers/orchestrator/sweep.py",
    "consumers/orchestrator/uploads.py": "consumers/orchestrator/uploads.py",
    "operator/controller.py": "operator/controller.py",
    "operator/observing.py": "operator/controller.py",
}
"""The files whose lines all concern one entity or request, and the file that binds the fields for them."""

GIVEN = {
    "consumers/aggregator/partitions.py": {"event-quarantined"},
    "consumers/aggregator/restoring.py": {"state-undecodable"},
    "consumers/sink.py": {"state-undecodable", "kind-unknown"},
}
"""Lines about one record of a batch, which has its fields as arguments; the other lines of these files concern the batch."""

OF_THE_PROCESS = {
    "api/changes/tail.py",
    "api/watching.py",
    "cluster/pods/templates.py",
    "consumers/aggregator/checkpoints.py",
    "consumers/aggregator/role.py",
    "consumers/common/reconciling.py",
    "consumers/relay.py",
    "consumers/verification/replaying.py",
    "consumers/verification/stored.py",
    "consumers/verification/verifying.py",
}
"""Files whose lines concern a partition, a role or a command as a whole."""


def calls(path: Path) -> list[ast.Call]:
    """Calls of the logger in a file."""

    def logs(function: ast.expr) -> bool:
        of = function.value if isinstance(function, ast.Attribute) and function.attr in LEVELS else None
        return isinstance(of, ast.Name) and of.id == "log"

    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call) and logs(node.func)]


def test_every_file_that_logs_says_what_its_lines_are_about():
    """A new file is in one of the three tables, and no table has one that is gone."""
    files = {str(path.relative_to(ROOT / "dyff")) for place in PLACES for path in (ROOT / "dyff" / place).rglob("*.py") if calls(path)}
    assert files == set(BOUND) | set(GIVEN) | OF_THE_PROCESS


@pytest.mark.parametrize("name", sorted(BOUND))
def test_lines_about_an_entity_have_its_fields_from_one_place(name):
    """They are bound where the work begins, and no line names the entity or the account again."""
    binding = (ROOT / "dyff" / BOUND[name]).read_text()
    assert "log_fields.begin(" in binding or "log_fields.during(" in binding
    again = [keyword.arg for call in calls(ROOT / "dyff" / name) for keyword in call.keywords if keyword.arg in ("entity_id", "trace_id")]
    assert again == []


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_lines_about_a_record_have_the_fields_of_its_headers(name):
    """As arguments, since a batch has records of many entities."""
    found = {
        event.value
        for call in calls(ROOT / "dyff" / name)
        if any(keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == "about" for keyword in call.keywords)
        for event in call.args[:1]
        if isinstance(event, ast.Constant)
    }
    assert found == GIVEN[name]
