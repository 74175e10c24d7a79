"""The console as people use it, in a real browser."""

from __future__ import annotations

import json

import msgspec
import pytest

from dyff.accounts import codes
from dyff.accounts.grants import Grant
from dyff.entities import registry
from tests.api.test_strangers import entity_of
from tests.console import browsing

REFUSED = "the server responded with a status of 401"


@pytest.mark.parametrize("width", browsing.WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_sign_in_look_edit_and_sign_out(world, width, scheme):
    """A list leads to an entity, whose label is set where it is; after signing out, the token is nowhere. Each page is usable by all."""
    dataset = await world.dataset(name="prompts")
    async with browsing.opened(world, width, color_scheme=scheme, reduced_motion="reduce") as console:
        page = console.page
        await page.goto(f"{console.url}/")
        await page.get_by_label("Token", exact=True).wait_for()
        await console.usable()
        await console.sign_in(world.admin)
        await page.get_by_text("Waiting for upload").first.wait_for()
        await console.usable()
        await console.go("datasets")
        await page.get_by_role("link", name="prompts").click()
        await console.heading("prompts")
        await console.usable()
        await page.get_by_role("button", name="Add a label").click()
        await page.get_by_label("Key", exact=True).fill("team")
        await page.get_by_label("Value", exact=True).fill("red")
        await page.get_by_role("button", name="Save").click()
        await page.get_by_role("button", name="Remove the label team").wait_for()
        await console.usable()
        async with world.client() as client:
            assert (await client.get(f"/v0/datasets/{dataset}")).json()["labels"] == {"team": "red"}
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_label("Token", exact=True).wait_for()
        assert await page.evaluate("JSON.stringify({...sessionStorage, ...localStorage}) + document.cookie") == "{}"


@pytest.mark.parametrize("width", [390, 800, 1280, 1440])
async def test_names_have_room_at_any_width(world, width):
    """The name of an evaluation with labels needs at most two lines on the overview and in its list, and no word of it is broken."""
    service = await world.ready_service(name="plain Gemma 3 270M (recorded 2026-11-30)")
    evaluation = {"account": "test", "dataset": await world.dataset(), "inferenceSession": {"inferenceService": service}}
    async with world.client() as client:
        made = (await client.post("/v0/evaluations", json=evaluation)).json()["id"]
        await client.patch(f"/v0/evaluations/{made}/labels", json={"labels": {"dyff.io/access": "public", "team": "red"}})
    async with browsing.opened(world, width) as console:
        await console.sign_in(world.admin)
        for place in ("", "evaluations"):
            await console.go(place)
            name = console.page.locator(f"a[data-row][href$='{made}']")
            await name.wait_for()
            lines = await name.evaluate("each => each.getClientRects().length")
            assert lines <= 2, (place, lines)
            await console.usable()


async def test_the_account_is_reached_on_a_telephone(world):
    """There is no room for its name above, so the menu has it."""
    async with browsing.opened(world, 390) as console:
        await console.sign_in(world.admin)
        await console.page.get_by_role("button", name="Overview").click()
        await console.page.get_by_label("Kinds").get_by_role("link", name="Account").click()
        await console.page.get_by_role("heading", name="What it allows").wait_for()
        await console.usable()


async def test_a_link_signs_in_once_and_its_code_is_in_no_request(world):
    """The code is in the fragment, which goes away; signing out revokes the token that it gave."""
    known = codes.Codes(world.services.clock)
    code = known.make()
    async with browsing.opened(world, services={"codes": known}) as console:
        page, bodies_sent = console.page, []
        page.on("request", lambda each: bodies_sent.append((each.url, each.post_data)))
        await page.goto(f"{console.url}/#code={code}")
        await console.heading("Overview")
        assert code not in page.url
        assert [(where, body) for where, body in bodies_sent if code in f"{where} {body}"] == [
            (f"{console.url}/v0/sign-in", json.dumps({"code": code}, separators=(",", ":")))
        ]
        token = await page.evaluate("sessionStorage.getItem('dyff-token')")
        async with page.expect_response(lambda each: each.request.method == "DELETE"):
            await page.get_by_role("button", name="Sign out").click()
        async with world.client(token) as client:
            assert (await client.get("/v0/caller")).status_code == 401
        console.expected.append(REFUSED)
        await page.goto(f"{console.url}/#code={code}")
        await page.reload()
        await page.get_by_text("the link was used already").wait_for()


async def test_a_token_that_is_no_longer_good_is_said_and_asked_for_again(world):
    """Not a page full of errors."""
    token = await world.token(Grant(("*",), ("*",), ("*",), ("*",)))
    async with browsing.opened(world) as console:
        await console.sign_in(token)
        async with world.client(token) as client:
            await world.services.accounts.revoke_key(world.account, (await client.get("/v0/caller")).json()["token"])
        console.expected.append(REFUSED)
        await console.go("datasets")
        await console.heading("Sign in to Dyff")
        await console.page.get_by_role("alert").wait_for()


async def test_a_token_of_few_rights_is_offered_nothing_that_would_be_refused(world):
    """It sees what it may, and no button for anything else."""
    dataset = await world.dataset(name="prompts")
    token = await world.token(Grant(("datasets",), ("get", "query"), ("test",)))
    async with browsing.opened(world) as console:
        await console.sign_in(token)
        await console.go(f"datasets/{dataset}")
        await console.heading("prompts")
        await console.page.get_by_text("No labels").wait_for()
        for name in ("Delete", "Add a label", "Create from this"):
            assert await console.page.get_by_role("button", name=name).count() == 0, name
        links = await console.page.get_by_label("Kinds").get_by_role("link").all_text_contents()
        assert links == ["Overview", "Datasets"]


async def test_the_keyboard_is_enough(world):
    """To a list, to its second row, into it, up again, and help on all of that."""
    for name in ("first", "second"):
        await world.dataset(name=name)
    async with browsing.opened(world) as console:
        await console.sign_in(world.admin)
        keyboard = console.page.keyboard
        for key in ("g", "d"):
            await keyboard.press(key)
        await console.page.get_by_role("link", name="first").wait_for()
        for key in ("j", "j", "Enter"):
            await keyboard.press(key)
        await console.heading("first")
        await keyboard.press("u")
        await console.heading("Datasets")
        await keyboard.press("?")
        dialog = console.page.get_by_role("dialog", name="Keys")
        await dialog.get_by_text("Next row").wait_for()
        await console.usable()
        await keyboard.press("Escape")
        await dialog.wait_for(state="hidden")


async def test_what_would_be_lost_is_asked_for_first(world):
    """Deleting asks; cancelling does nothing."""
    dataset = await world.dataset(name="prompts")
    async with browsing.opened(world) as console:
        await console.sign_in(world.admin)
        await console.go(f"datasets/{dataset}")
        for answer, want in (("Cancel", "WaitingForUpload"), ("Delete", "Deleted")):
            await console.page.get_by_role("button", name="Delete").click()
            dialog = console.page.get_by_role("dialog")
            await dialog.get_by_text("cannot be undone").wait_for()
            await dialog.get_by_role("button", name=answer).click()
            await dialog.wait_for(state="hidden")
            async with world.client() as client:
                assert (await client.get(f"/v0/datasets/{dataset}")).json()["status"] == want


async def test_a_new_entity_is_made_from_one_that_exists(world):
    """The request has the fields of the old one, with IDs in place of what it has embedded; a mistake is named with its field."""
    service = await world.ready_service(name="mock")
    evaluation = {"account": "test", "dataset": await world.dataset(), "inferenceSession": {"inferenceService": service}}
    async with world.client() as client:
        made = (await client.post("/v0/evaluations", json={**evaluation, "replications": 3})).json()["id"]
    async with browsing.opened(world) as console:
        await console.sign_in(world.admin)
        await console.go(f"evaluations/{made}")
        await console.page.get_by_role("link", name="Create from this").click()
        await console.page.get_by_text("Begun from").wait_for()
        await console.page.get_by_role("button", name="JSON", exact=True).click()
        field = console.page.get_by_label("The request, as JSON")
        body = json.loads(await field.input_value())
        assert msgspec.convert(body["inferenceSession"]["inferenceService"], str) == service
        assert body["replications"] == 3
        await console.usable()
        console.expected.append("the server responded with a status of 422")
        await field.fill(json.dumps({**body, "replications": -1}))
        await console.page.get_by_role("button", name="Create").click()
        await console.page.get_by_role("alert").get_by_text("replications").first.wait_for()
        await field.fill(json.dumps({**body, "replications": 4}))
        await console.page.get_by_role("button", name="Create").click()
        await console.page.get_by_role("heading", name="Labels").wait_for()
        assert made not in console.page.url


async def test_every_kind_has_its_pages(world):
    """A list, and one entity, without a line in the console that knows the kind."""
    async with browsing.opened(world) as console:
        for row in registry.ROWS:
            await entity_of(world, row.name, "test")
        await console.sign_in(world.admin)
        for row in registry.ROWS:
            await console.go(row.plural)
            await console.page.locator("[data-row]").first.click()
            await console.page.get_by_role("heading", name="Documentation", level=2).wait_for()
            await console.usable()
