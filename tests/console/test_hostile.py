"""Hostile names, labels, texts and logs: in the console they are text, and nothing of them runs or is fetched."""

from __future__ import annotations

from dyff.cluster import port as cluster
from tests.console import browsing

MARKUP = "<img src=x onerror=\"alert(1)\"><script>alert(2)</script><a href='javascript:alert(3)'>x</a>"
OVERRIDE = "\u202egnp.exe"
LONG = "W" * 250


async def test_what_others_wrote_is_text(world):
    """In a name, a text, a message of a failure and a log; also after it was edited in place."""
    service = await world.ready_service(name=MARKUP)
    dataset = await world.dataset(name=f"{OVERRIDE}{LONG}"[:255])
    async with world.client() as client:
        body = {"account": "test", "dataset": dataset, "inferenceSession": {"inferenceService": service}}
        evaluation = (await client.post("/v0/evaluations", json=body)).json()["id"]
        texts = {"documentation": {"title": MARKUP[:140], "summary": MARKUP}}
        assert (await client.patch(f"/v0/evaluations/{evaluation}/documentation", json=texts)).status_code == 200
    world.cluster.put("Pod", "pod-1", metadata={"name": "pod-1", "labels": {"dyff.io/id": evaluation}})
    lines = (f"10 %\r{MARKUP}", f"\u001b[31m{OVERRIDE}\u001b]0;title\u0007", "x" * 20_000)
    world.cluster.written["pod-1"] = [cluster.LogLine(f"2026-01-01T00:00:0{n}Z", text) for n, text in enumerate(lines)]
    await world.fail(evaluation, "RunFailed", MARKUP)
    async with browsing.opened(world, 390) as console:
        await console.sign_in(world.admin)
        page = console.page
        written = {
            "": "Overview", "evaluations": "alert(1)", f"evaluations/{evaluation}": "alert(1)",
            f"evaluations/{evaluation}/json": "alert(1)", "datasets": "gnp.exe", f"datasets/{dataset}": "gnp.exe",
        }  # fmt: skip
        for place, text in written.items():
            await console.go(place)
            await page.locator("main").get_by_text(text).first.wait_for()
            await console.usable()
            assert await page.locator("main :is(img, script, a[href^=javascript])").count() == 0, place
        await console.go(f"evaluations/{evaluation}/logs")
        log = page.get_by_role("region", name="Log")
        await log.get_by_text("alert(1)").first.wait_for()
        assert "10 %" not in await log.inner_text()
        assert await log.locator("img, script").count() == 0
        await console.usable()
