"""The dossier of a safety case: what is in it, and that runs which are not shown are counted."""

from __future__ import annotations

import pytest

from dyff.accounts.grants import Grant
from dyff.objects import layout, manifests
from tests.pages import cases

NONE = "00000000000040008000000000000777"


async def test_the_best_of_seven_runs_says_one_of_seven_whatever_is_deleted(world, audit, api):
    """Of seven evaluations, measurements and cases, the best is published: 1 of 7, also when the other six are deleted and removed."""
    made = [await audit.run(0.2 + n / 100) for n in range(7)]
    best = made[0][2]
    await audit.publish("safetycases", best)
    seven = {"Evaluation": (1, 7), "Measurement": (1, 7), "SafetyCase": (1, 7)}
    assert cases.shares(await audit.dossier(best)) == seven
    for run in made[1:]:
        for plural, entity in zip(("evaluations", "measurements", "safetycases"), run, strict=True):
            assert (await api.put(f"/v0/{plural}/{entity}/delete")).status_code == 200
            await world.removed(entity)
    found = await audit.dossier(best)
    assert cases.shares(found) == seven
    assert cases.outcomes(found, "Evaluation") == {"complete": 1, "failed": 0, "deleted": 6, "unfinished": 0}
    assert {each["unpublished"] for each in found["notShown"]["runs"]} == {7, 6}


async def test_runs_without_a_case_are_counted(audit):
    """Seven evaluations of which one has a measurement and a case: 1 of 7 evaluations, however they ended, and the case is the only one."""
    evaluation, measurement, case = await audit.run()
    for status in ("Complete", "Complete", "Failed", "Failed", "Admitted", "Created"):
        await audit.evaluation(status)
    found = await audit.dossier(case)
    assert cases.shares(found) == {"Evaluation": (1, 7), "Measurement": (1, 1), "SafetyCase": (1, 1)}
    assert cases.outcomes(found, "Evaluation") == {"complete": 3, "failed": 2, "deleted": 0, "unfinished": 2}
    assert {evaluation, measurement} <= {each["id"] for each in found["restsOn"]}


async def test_runs_of_other_accounts_are_counted(audit):
    """Who made a run does not matter for how many there are."""
    _, _, case = await audit.run()
    await audit.post("evaluations", {"dataset": audit.dataset, "inferenceSession": {"inferenceService": audit.service}}, account="other")
    (runs,) = (each for each in (await audit.dossier(case))["notShown"]["runs"] if each["kind"] == "Evaluation")
    assert (runs["total"], runs["otherAccounts"]) == (2, 1)


async def test_another_system_or_dataset_is_not_counted(world, api, audit):
    """Only runs of the same sort are."""
    _, _, case = await audit.run()
    other = await cases.Audit(world, api).prepare()
    await other.evaluation()
    other.service = audit.service
    await other.evaluation()
    assert cases.shares(await audit.dossier(case))["Evaluation"] == (1, 1)


async def test_what_the_case_rests_on_has_ids_names_and_digests(audit):
    """Each entity of the chain is there once, with the digest that a run recorded of it, or that of its fields."""
    evaluation, measurement, case = await audit.run()
    found = {each["id"]: each for each in (await audit.dossier(case))["restsOn"]}
    assert {each["kind"] for each in found.values()} == {"Method", "Measurement", "Evaluation", "InferenceService", "Dataset", "Module"}
    digests = {measurement: "b", evaluation: "e", audit.dataset: "d", audit.module: "c"}
    assert {key: found[key]["digest"] for key in digests} == {key: f"sha256:{letter * 64}" for key, letter in digests.items()}
    assert (found[audit.service]["name"], found[audit.dataset]["name"]) == ("mock completion", "prompts")
    assert found[audit.service]["digest"] is not None
    assert found[evaluation]["details"]["Outputs"] == "complete, unique and as declared"


async def test_scores_come_with_what_they_say_of_their_precision(audit):
    """The primary one first, with interval and counts; one that says nothing has nothing."""
    _, _, case = await audit.run()
    first, second = (await audit.dossier(case))["scores"]
    assert (first["name"], first["quantityString"]) == ("toxic_rate", "0.120")
    assert first["uncertainty"] == {
        "low": 0.08, "high": 0.17, "level": 0.95, "n": 400, "clusters": 50, "errors": 3, "unscored": 0, "method": "t, by cluster",
    }  # fmt: skip
    assert set(second["uncertainty"].values()) == {None}


@pytest.mark.parametrize("first", [True, False])
async def test_a_method_that_came_after_the_first_output_is_named(world, api, first):
    """`before` says whether method and dataset were fixed when the first evaluation was created."""
    audit = await cases.Audit(world, api).prepare(method_first=first)
    await audit.evaluation("Failed")
    if not first:
        await audit.methods()
    _, _, case = await audit.run()
    fixed = {each["id"]: each["before"] for each in (await audit.dossier(case))["notShown"]["fixed"]}
    assert fixed == {audit.reporting: first, audit.measuring: first, audit.dataset: True}


async def test_everybody_reads_what_is_public_and_no_more(world, audit):
    """Without a token, the dossier of a public case has IDs and digests of what is private, and nothing else of it."""
    evaluation, _, case = await audit.run()
    await audit.publish("safetycases", case)
    await audit.publish("datasets", audit.dataset)
    async with world.client("") as everybody:
        found = (await everybody.get(f"/v0/safetycases/{case}/dossier")).json()
    basis = {each["id"]: each for each in found["restsOn"]}
    # What the case itself carries, its readers may see: the method and the system.
    assert {key for key, each in basis.items() if each["visible"]} == {audit.reporting, audit.service, audit.dataset}
    assert (basis[evaluation]["name"], basis[evaluation]["details"]) == (None, {})
    assert basis[evaluation]["digest"] == f"sha256:{'e' * 64}"
    assert basis[audit.dataset]["name"] == "prompts"


@pytest.mark.parametrize("path", ["/v0/safetycases/{}/dossier", "/safetycases/{}", "/safetycases/{}/document"])
async def test_a_stranger_cannot_tell_a_case_from_none(world, audit, path):
    """Private, preview, deleted and missing cases have the same answer, with and without a token; who may see them gets them."""
    _, _, case = await audit.run()
    await audit.publish("safetycases", case, "internal")
    _, _, deleted = await audit.run()
    await audit.publish("safetycases", deleted)
    await world.set_status(deleted, "Deleted")
    stranger = await world.token(Grant(("*",), ("*",), ("other",)))
    for token in ("", stranger):
        async with world.client(token) as client:
            answers = {each: await client.get(path.format(each)) for each in (case, deleted, NONE, "no-id")}
            assert {each.status_code for each in answers.values()} == {404}
            assert len({each.text.replace(entity, "ID") for entity, each in answers.items()}) == 1
    async with world.client(await world.token(Grant(("safetycases",), ("get",), (), (case,)))) as reader:
        assert (await reader.get(path.format(case))).status_code == 200
    async with world.client("nonsense") as wrong:
        assert (await wrong.get(path.format(case))).status_code == 401


async def test_an_unchanged_page_is_not_sent_again(world, audit):
    """HEAD, ETag and If-None-Match as for files; other methods are refused; a shared cache keeps only what everybody may see."""
    _, _, case = await audit.run()
    await audit.publish("safetycases", case)
    async with world.client("") as everybody:
        for path in (f"/v0/safetycases/{case}/dossier", f"/safetycases/{case}", f"/safetycases/{case}/document"):
            first = await everybody.get(path)
            assert (first.status_code, first.headers["cache-control"], first.headers["vary"]) == (200, "no-cache", "authorization, cookie")
            assert (await everybody.get(path, headers={"if-none-match": first.headers["etag"]})).status_code == 304
            assert (await everybody.get(path, headers={"if-match": '"other"'})).status_code == 412
            head = await everybody.head(path)
            assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", first.headers["etag"])
            assert (await everybody.post(path)).status_code == 405
    await audit.evaluation()
    async with world.client() as reader:
        after = await reader.get(f"/safetycases/{case}", headers={"if-none-match": first.headers["etag"]})
        assert (after.status_code, after.headers["cache-control"]) == (200, "private, no-cache")


async def test_a_claim_is_part_of_the_documentation_of_a_safety_case_only(audit, api):
    """Its texts are set like others, are in the dossier, and what is missing is named; other kinds refuse them."""
    _, _, case = await audit.run()
    assert (await audit.dossier(case))["claim"]["missing"] == ["claim", "scope", "assumptions", "limits", "evaluators", "relationship"]
    await audit.describe(case, limits=None)
    claim = (await audit.dossier(case))["claim"]
    assert (claim["claim"], claim["relationship"], claim["missing"]) == (cases.CLAIM["claim"], "third_party", ["limits"])
    texts = (await api.get(f"/v0/safetycases/{case}/documentation")).json()
    assert texts["scope"] == cases.CLAIM["scope"]
    refused = await api.patch(f"/v0/datasets/{audit.dataset}/documentation", json={"documentation": {"claim": "x"}})
    assert refused.status_code == 422
    wrong = await api.patch(f"/v0/safetycases/{case}/documentation", json={"documentation": {"relationship": "friends"}})
    assert wrong.status_code == 422


async def test_a_public_page_leads_to_the_provenance_of_its_scores(world, audit):
    """The page links to both exports, visibly and for programs; a stranger can follow each link, and finds all that the page names."""
    _, _, case = await audit.run()
    await audit.publish("safetycases", case)
    async with world.client("") as stranger:
        page = (await stranger.get(f"/safetycases/{case}")).text
        found = (await stranger.get(f"/v0/safetycases/{case}/dossier")).json()
        for path in (found["provenance"], found["eee"]):
            assert f'<link rel="alternate" type="application/json" href="{path}"' in page
            assert f'<a href="{path}">' in page
        entities = (await stranger.get(found["provenance"])).json()["entity"]
        named = {each["dyff:id"] for each in entities.values() if "dyff:id" in each}
        assert {each["id"] for each in found["restsOn"]} <= named
        assert any(name.endswith("/scores#toxic_rate") for name in entities)
        digests = {each["dyff:id"]: each.get("dyff:sha256") for each in entities.values() if "dyff:id" in each}
        assert all(each["digest"] == f"sha256:{digests[each['id']]}" for each in found["restsOn"] if each["digest"])
        eee = await stranger.get(found["eee"])
    assert (eee.status_code, len(eee.json()["evaluation_results"])) == (200, 2)


async def test_a_reproduction_is_a_run_that_is_shown_as_one(world, audit, api):
    """It asks for exactly what its original did, is counted among all runs, and both pages say what it is."""
    _, _, case = await audit.run()
    original = (await api.get(f"/v0/safetycases/{case}")).json()
    body = {
        "method": original["method"]["id"], "scope": original["scope"], "inputs": original["inputs"], "arguments": [], "reproduces": case,
    }  # fmt: skip
    other = await api.post("/v0/safetycases", json={**body, "account": "test", "scope": {**body["scope"], "dataset": audit.dataset}})
    assert (other.status_code, other.json()["detail"][0]["loc"]) == (422, ["body", "scope"])
    made = await audit.post("safetycases", body)
    assert (made["reproduces"], made["data"]) == (case, original["data"])
    await world.record(made["id"], {"scores": original["scores"], "curves": [], "provenance": {}})
    await world.set_status(made["id"], "Complete")
    found = await audit.dossier(case)
    (counted,) = (each for each in found["notShown"]["runs"] if each["kind"] == "SafetyCase")
    assert (counted["shown"], counted["total"], counted["reproductions"]) == (1, 2, 1)
    assert [(each["id"], each["scores"], each["equal"]) for each in found["reproductions"]] == [(made["id"], 2, 2)]
    page = (await api.get(f"/safetycases/{case}")).text
    assert "2 of 2 scores exactly equal" in page
    assert "This safety case is a reproduction" in (await api.get(f"/safetycases/{made['id']}")).text
    again = await api.post("/v0/safetycases", json={**body, "account": "test", "reproduces": made["id"]})
    assert f"reproduce its original, {case}" in again.text
    unread = Grant(("*",), ("create", "consume"), ("*",))
    async with world.client(await world.token(unread)) as client:
        assert "that you may read" in (await client.post("/v0/safetycases", json={**body, "account": "test"})).text


async def test_the_release_that_verified_the_outputs_is_named(world, audit):
    """Those who may see the evaluation read it on the page; others do not."""
    evaluation, _, case = await audit.run()
    platform = {"name": "dyff-platform", "version": "0.9", "commit": "abc"}
    manifest = manifests.Manifest(artifacts=(), source={"kind": "Outputs", "platform": platform})
    assert await manifests.write(world.services.objects, layout.root("outputs", evaluation), manifest)
    await audit.publish("safetycases", case)
    async with world.client("") as everybody:
        for client, want in ((audit.api, "dyff-platform 0.9 (abc)"), (everybody, None)):
            found = (await client.get(f"/v0/safetycases/{case}/dossier")).json()["restsOn"]
            (details,) = (each["details"] for each in found if each["id"] == evaluation)
            assert details.get("Release of Dyff") == want
            assert ("dyff-platform 0.9" in (await client.get(f"/safetycases/{case}")).text) == (want is not None)
