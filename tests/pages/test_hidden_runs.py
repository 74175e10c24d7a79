"""Ways to hide runs from the page of a safety case by what they are called, rather than by deleting them. None works."""

from __future__ import annotations

from typing import Any

import pytest

from dyff.api.dossiers import counting
from tests.entities import bodies
from tests.pages import cases

COPIED = ("name", "scope", "implementation", "output", "inputs", "scores")
"""The fields of a method that a copy of it has."""


async def case(audit: Any, measurement: str, scope: dict[str, str], method: str | None = None) -> str:
    body = {"method": method or audit.reporting, "scope": scope, "inputs": [{"keyword": "lengths", "entity": measurement}]}
    found = (await audit.post("safetycases", body))["id"]
    await audit.world.set_status(found, "Complete")
    return found


async def ready(audit: Any, **changes: Any) -> str:
    found = (await audit.post("methods", {**bodies.METHOD, "modules": [audit.module], **changes}))["id"]
    await audit.world.set_status(found, "Ready")
    return found


async def rows(audit: Any, case: str) -> dict[str, tuple[int, int]]:
    return {each["what"]: (each["shown"], each["total"]) for each in (await audit.dossier(case))["notShown"]["runs"]}


@pytest.mark.parametrize("scope", ["another system", "another dataset, too"])
async def test_a_case_that_names_another_system_is_counted_by_what_it_reads(world, api, audit, scope):
    """A scope is what an author says. Six cases that read the same measurement and say that they are about a decoy are six more."""
    _, measurement, shown = await audit.run()
    decoy = await cases.Audit(world, api).prepare(method_first=False)
    lie = {"inferenceService": decoy.service, **({"dataset": decoy.dataset} if scope != "another system" else {})}
    for _ in range(6):
        await case(audit, measurement, lie)
    assert cases.shares(await audit.dossier(shown))["SafetyCase"] == (1, 7)


async def test_the_case_that_is_shown_can_name_another_system_itself(world, api, audit):
    """The published one has a decoy in its scope, the six others the truth. It is still one of seven, and the page says what differs."""
    evaluation = await audit.evaluation()
    measurement = await audit.measurement(evaluation)
    decoy = await cases.Audit(world, api).prepare(method_first=False)
    shown = await case(audit, measurement, {"inferenceService": decoy.service})
    for _ in range(6):
        await case(audit, measurement, {"inferenceService": audit.service})
    found = await audit.dossier(shown)
    assert cases.shares(found)["SafetyCase"] == (1, 7)
    assert [audit.service in each and decoy.service in each for each in found["warnings"]] == [True]
    page = (await api.get(f"/safetycases/{shown}")).text
    assert found["warnings"][0] in page


async def test_a_measurement_is_counted_by_what_it_reads(world, api, audit):
    """Measurements that read an evaluation of this system, and name another evaluation in their scope, are counted."""
    evaluation, _, shown = await audit.run()
    decoy = await cases.Audit(world, api).prepare(method_first=False)
    scope = {"dataset": decoy.dataset, "inferenceService": decoy.service, "evaluation": await decoy.evaluation()}
    inputs = [{"keyword": "outputs", "entity": evaluation}, {"keyword": "prompts", "entity": audit.dataset}]
    for _ in range(6):
        await audit.post("measurements", {"method": audit.measuring, "scope": scope, "inputs": inputs})
    assert cases.shares(await audit.dossier(shown))["Measurement"] == (1, 7)


async def test_cases_by_a_copy_of_the_method_are_counted_in_a_row_of_their_own(audit):
    """Who pushes the same notebook seven times has seven methods: each case is one of one by its method, and of seven in all."""
    _, measurement, shown = await audit.run()
    known = (await audit.api.get(f"/v0/methods/{audit.reporting}")).json()
    for _ in range(6):
        same = {name: known[name] for name in COPIED}
        await case(audit, measurement, {"inferenceService": audit.service}, await ready(audit, **same))
    found = await rows(audit, shown)
    assert found["safety cases about this system by this method"] == (1, 1)
    assert found["safety cases that read the same runs, by any method"] == (1, 7)


async def test_measurements_by_a_copy_of_the_method_are_counted_in_a_row_of_their_own(audit):
    """The same for measurements of one evaluation."""
    evaluation, _, shown = await audit.run()
    scope = {"dataset": audit.dataset, "inferenceService": audit.service, "evaluation": evaluation}
    for _ in range(6):
        method = await ready(audit, inputs=[{"kind": "Evaluation", "keyword": "outputs"}])
        await audit.post("measurements", {"method": method, "scope": scope, "inputs": [{"keyword": "outputs", "entity": evaluation}]})
    found = await rows(audit, shown)
    assert found["measurements of this system on this dataset by this method"] == (1, 1)
    assert found["measurements that read the same runs, by any method"] == (1, 7)


async def test_evaluations_of_another_service_of_the_same_model_are_counted_in_a_row_of_their_own(world, api):
    """Six more services of one model, each evaluated once, are six more evaluations of that model on this dataset."""
    audit = await cases.Audit(world, api).prepare()
    model = (await audit.post("models", bodies.MODEL_MOCK))["id"]
    await world.set_status(model, "Ready")
    audit.service = await world.ready_service(account="test", model=model)
    _, _, shown = await audit.run()
    for _ in range(6):
        audit.service = await world.ready_service(account="test", model=model)
        await audit.evaluation()
    found = await rows(audit, shown)
    assert found["evaluations of this system on this dataset"] == (1, 1)
    assert found["evaluations of the same model on this dataset, by any service"] == (1, 7)


async def test_a_case_with_many_evaluations_says_what_it_does_not_count(audit, world, api):
    """Each sort of run costs time, so they are bounded; the case's own sort is always there, and what is left out is said."""
    inputs = [{"kind": "Evaluation", "keyword": f"e{n}"} for n in range(12)]
    code = {"kind": "JupyterNotebook", "jupyterNotebook": {"notebookModule": audit.module, "notebookPath": "report.ipynb"}}
    method = await ready(audit, **{**bodies.METHOD_NOTEBOOK, "modules": [audit.module], "implementation": code, "inputs": inputs})
    read = []
    for n in range(12):
        dataset = await world.dataset(account="test", name=f"d{n}")
        await world.set_status(dataset, "Ready")
        body = {"dataset": dataset, "inferenceSession": {"inferenceService": audit.service}}
        read.append((await audit.post("evaluations", body))["id"])
        await world.set_status(read[-1], "Complete")
    body = {
        "method": method, "scope": {"inferenceService": audit.service},
        "inputs": [{"keyword": f"e{n}", "entity": each} for n, each in enumerate(read)],
    }  # fmt: skip
    shown, *_ = [(await audit.post("safetycases", body))["id"] for _ in range(3)]
    found = await audit.dossier(shown)
    assert cases.shares(found)["SafetyCase"] == (1, 3)
    assert any("not counted" in each for each in found["warnings"])


async def test_a_search_through_all_runs_is_made_once_in_a_while(audit, monkeypatch):
    """Anybody can load a public page. What an index finds is counted at each position of the view, and the rest after some seconds."""
    monkeypatch.setattr(counting, "SEARCHED_S", 1e9)
    _, measurement, shown = await audit.run()
    copy = await ready(audit, **{name: (await audit.api.get(f"/v0/methods/{audit.reporting}")).json()[name] for name in COPIED})
    await case(audit, measurement, {"inferenceService": audit.service}, copy)
    assert (await rows(audit, shown))["safety cases that read the same runs, by any method"] == (1, 2)
    await case(audit, measurement, {"inferenceService": audit.service}, copy)
    assert (await rows(audit, shown))["safety cases that read the same runs, by any method"] == (1, 2)
    await case(audit, measurement, {"inferenceService": audit.service})
    found = await rows(audit, shown)
    assert found["safety cases about this system by this method"] == (1, 2)
    assert found["safety cases that read the same runs, by any method"] == (1, 4)
