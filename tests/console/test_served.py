"""The built console as it is served, and what it asks first."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import msgspec
import pytest

from dyff.accounts import codes
from dyff.accounts.grants import Grant
from dyff.api import app, built, kind_descriptions
from dyff.entities import registry

FOLDER = Path(built.__file__).parent / "console"
BUDGET_BYTES = 250 * 1024
FIRST_LOAD_BYTES = 150 * 1024
KINDS = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml", "txt": "text/plain"}


def assets():
    return sorted(path for path in (FOLDER / "assets").iterdir())


def test_it_is_within_its_budget():
    """Everything together is small, so that who opens it sees it at once, also far away."""
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in FOLDER.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < BUDGET_BYTES, sizes


def test_it_names_no_other_host():
    """Nothing is fetched from elsewhere: the only addresses in it are names of XML vocabularies and of Svelte's errors."""
    for path in FOLDER.rglob("*.*"):
        found = set(re.findall(r"https?://[\w.-]+", path.read_text()))
        assert found <= {"http://www.w3.org", "https://svelte.dev", "https://github.com"}, (path.name, found)


async def test_the_first_load_is_small(api):
    """The page and what it names, as they are transferred, with their heads."""
    page = await api.get("/", headers={"Authorization": ""})
    total = 0
    for path in ["/", *re.findall(r'"\./(assets/[^"]+)"', page.text)]:
        response = await api.get(path, headers={"Authorization": "", "Accept-Encoding": "gzip"})
        assert response.status_code == 200, path
        total += len(str(response.headers)) + int(response.headers["content-length"])
    assert 10_000 < total < FIRST_LOAD_BYTES


async def test_the_page_has_a_strict_policy_and_is_compared_each_time(api):
    """Nothing inline, nothing of others, no frame around it, and no text becomes HTML. A client that has it already gets no body."""
    page = await api.get("/", headers={"Authorization": ""})
    policy = dict(each.strip().split(" ", 1) for each in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert (page.headers["referrer-policy"], page.headers["x-content-type-options"]) == ("no-referrer", "nosniff")
    assert (page.headers["cache-control"], page.headers["content-type"]) == ("no-cache", "text/html; charset=utf-8")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert (await api.get("/", headers={"If-None-Match": page.headers["etag"]})).status_code == 304


@pytest.mark.parametrize("path", assets(), ids=lambda path: path.suffix)
async def test_a_file_whose_name_has_its_hash_is_good_for_ever(api, path):
    """With and without compression it is the same file."""
    plain = await api.get(f"/assets/{path.name}", headers={"Authorization": "", "Accept-Encoding": "identity"})
    packed = await api.get(f"/assets/{path.name}", headers={"Authorization": "", "Accept-Encoding": "gzip"})
    assert plain.content == packed.content == path.read_bytes()
    assert plain.headers["content-type"] == f"{KINDS[path.suffix[1:]]}; charset=utf-8"
    hashed = path.suffix in (".js", ".css")
    assert plain.headers["cache-control"] == ("public, max-age=31536000, immutable" if hashed else "no-cache")
    assert packed.headers.get("content-encoding") == ("gzip" if path.stat().st_size >= 1024 else None)


async def test_a_file_of_another_release_is_a_404_that_says_so(api):
    """A page that is still open while the server is replaced."""
    response = await api.get("/assets/index-AAAAAAAA.js")
    assert (response.status_code, "load / again" in response.json()["detail"]) == (404, True)
    assert (await api.get("/assets/%2e%2e%2findex.html")).status_code == 404


async def test_where_people_look_for_it_leads_to_it(api):
    """`/console` and `/docs`."""
    found = {path: (await api.get(path, follow_redirects=False)).headers["location"] for path in ("/console", "/docs")}
    assert found == {"/console": "/", "/docs": "/v0/docs"}


async def test_all_kinds_are_described_by_their_rows(api):
    """In the order of the registry, with what the API can do with each: a new kind is there by itself."""
    found = (await api.get("/v0/kinds", headers={"Authorization": ""})).json()
    assert [each["name"] for each in found] == [row.name for row in registry.ROWS]
    by_name = {each["name"]: each for each in found}
    document = (await api.get("/v0/openapi.json")).json()
    for each in found:
        assert {"get", "query", "label", "delete"} <= set(each["operations"])
        assert each["request"] is None or each["request"] in document["components"]["schemas"]
    assert "terminate" in by_name["InferenceSession"]["operations"]
    assert by_name["SafetyCase"]["page"]
    assert "claim" in by_name["SafetyCase"]["texts"]
    assert by_name["Report"]["request"] is None


def test_titles_of_kinds_are_words():
    """Of several kinds, whose plurals are not all made in one way."""
    found = [kind_descriptions.title(registry.BY_KIND[name]) for name in ("Family", "InferenceSession", "SafetyCase", "Dataset")]
    assert found == ["Families", "Inference sessions", "Safety cases", "Datasets"]


async def test_a_caller_is_told_what_its_token_allows_now(world, api):
    """Not more than its account may, also if that was reduced since; and its name, and until when."""
    grant = Grant(("datasets",), ("get",), ("mine",))
    async with world.client(await world.token(grant)) as client:
        found = (await client.get("/v0/caller")).json()
        assert found["grants"] == [{"resources": ["datasets"], "functions": ["get"], "accounts": ["mine"], "entities": []}]
        assert (found["account"], found["subject"]) == (world.account, f"Account/{world.account}")
        await world.services.accounts.set_permissions(world.account, [], "v")
        assert (await client.get("/v0/caller")).json()["grants"] == []
    assert (await api.get("/v0/caller", headers={"Authorization": ""})).status_code == 401


@pytest.fixture
def linked(world):
    """The world of a server that prints links. Yields what makes their codes."""
    known = codes.Codes(world.services.clock)
    world.app = app.build(msgspec.structs.replace(world.services, codes=known))
    return known


async def test_the_code_of_a_link_is_exchanged_once_for_a_token_for_everything(world, linked):
    """Who can start the server may do everything with it anyway. The second time it is refused, with what to do instead."""
    code = linked.make()
    async with world.client("") as stranger:
        made = await stranger.post("/v0/sign-in", json={"code": code})
        again = await stranger.post("/v0/sign-in", json={"code": code})
    assert (made.status_code, again.status_code) == (201, 401)
    assert "dyff token create" in again.json()["detail"]
    async with world.client(json.loads(made.content)) as client:
        caller = (await client.get("/v0/caller")).json()
        assert (caller["name"], caller["grants"][0]["resources"]) == ("console", ["*"])
        assert (await client.get("/metrics")).status_code == 200


async def test_every_link_signs_in_the_same_account(world, linked, api):
    """Also if another account has its name already, and after its tokens were revoked."""
    await api.post("/v0/accounts", json={"name": "console"})
    async with world.client("") as stranger:
        tokens = [(await stranger.post("/v0/sign-in", json={"code": linked.make()})).json() for _ in range(2)]
    names = []
    for token in tokens:
        async with world.client(token) as client:
            names.append((await client.get("/v0/caller")).json()["name"])
    assert names[0] == names[1]
    assert re.fullmatch(r"console [0-9a-f]{8}", names[0])


async def test_an_administrator_can_switch_links_off(world, linked, api):
    """By suspending their account."""
    async with world.client("") as stranger:
        token = (await stranger.post("/v0/sign-in", json={"code": linked.make()})).json()
        async with world.client(token) as client:
            account = (await client.get("/v0/caller")).json()["account"]
        await world.services.accounts.set_status(account, "Suspended", None)
        assert (await stranger.post("/v0/sign-in", json={"code": linked.make()})).status_code == 403


async def test_a_server_without_a_terminal_has_no_links(api):
    """Whatever code is given."""
    assert (await api.post("/v0/sign-in", json={"code": "x"})).status_code == 401
    assert (await api.post("/v0/sign-in", json={})).status_code == 422
