"""A stranger opens the link of an invitation in a real browser."""

from __future__ import annotations

from tests.api.test_role import serving
from tests.pages import browser, cases


async def test_a_stranger_opens_a_private_case_by_a_link(world, api):
    """One click shows page and document, no address has the code any more, exports open; another case and other sites do not get in."""
    audit = await cases.Audit(world, api, account=world.account).prepare()
    _, _, case = await audit.run()
    _, _, other = await audit.run()
    made = (await api.post(f"/v0/safetycases/{case}/invitations", json={"note": "a stranger"})).json()
    path = made["url"].removeprefix("http://dyff.test")
    async with serving(world, url="http://127.0.0.1") as url, serving(world) as elsewhere, browser.opened() as seen:
        await seen.show(f"{url}/safetycases/{case}")
        assert "There is nothing here that you may see" in await seen.page.content()
        await seen.page.goto("about:blank")
        await seen.page.set_content(f"<a href='{url}{path}'>the link in a mail</a>")
        await seen.page.click("a")
        await seen.page.wait_for_url(f"{url}/safetycases/{case}")
        assert made["code"] not in seen.page.url
        assert "Toxic continuations" in await seen.page.content()
        assert await seen.page.evaluate("document.cookie") == ""
        frame = seen.page.frame_locator("iframe")
        assert await frame.locator("h1").inner_text() == "Findings"
        await seen.show(f"{url}/v0/safetycases/{case}/provenance")
        assert f"api:safetycases/{case}" in await seen.page.content()
        await seen.show(f"{url}/safetycases/{other}")
        assert "There is nothing here that you may see" in await seen.page.content()
        seen.forget()
        await seen.show(f"{elsewhere}/health")
        got = await seen.page.evaluate(
            "url => fetch(url, {credentials: 'include', mode: 'cors'}).then(each => each.text(), () => 'refused')",
            f"{url}/v0/safetycases/{case}/dossier",
        )
        assert got == "refused"
        await api.delete(f"/v0/safetycases/{case}/invitations/{made['id']}")
        await seen.show(f"{url}/safetycases/{case}")
        assert "There is nothing here that you may see" in await seen.page.content()
        await seen.show(f"{url}{path}")
        assert "This invitation opens nothing" in await seen.page.content()
