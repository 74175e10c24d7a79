"""Invitations over HTTP: what one opens, what it never opens, and what is recorded of it."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest

from dyff.accounts import grants, inviting, port
from dyff.api import invited
from dyff.entities import registry
from tests.api.test_auditing import started
from tests.pages import cases


class Invited:
    """A case with all that it rests on, another case, and an invitation to the first."""

    def __init__(self, audited):
        self.audited, self.world = audited, audited.world

    async def prepare(self):
        self.api = self.world.client()
        audit = self.audit = await cases.Audit(self.world, self.api, account=self.world.account).prepare()
        self.evaluation, self.measurement, self.case = await audit.run()
        self.rests_on = {
            "safetycases": self.case, "measurements": self.measurement, "evaluations": self.evaluation, "datasets": audit.dataset,
            "inferenceservices": audit.service, "methods": audit.reporting, "modules": audit.module,
        }  # fmt: skip
        self.others = dict(zip(("evaluations", "measurements", "safetycases"), await audit.run(), strict=True))
        self.invitation = await self.invite()
        return self

    async def invite(self, **body):
        made = await self.api.post(f"/v0/safetycases/{self.case}/invitations", json=body)
        assert made.status_code == 201, made.text
        assert made.headers["cache-control"] == "no-store"
        return made.json()

    def guest(self, code=None):
        """A client that has the code in place of a token."""
        return self.world.client(self.invitation["code"] if code is None else code)


@pytest.fixture
async def known(tmp_path):
    """See `Invited`; the audit log keeps only what changes something."""
    async for audited in started(tmp_path):
        found = await Invited(audited).prepare()
        yield found
        await found.api.aclose()


async def test_one_case_and_what_it_rests_on_and_nothing_else(known):
    """Each entity of the chain, its exports and the page; of another case, of its runs and of any list nothing."""
    assert set(known.invitation["entities"]) == set(known.rests_on.values()) | {known.audit.measuring}
    assert (known.invitation["leftOut"], known.invitation["url"]) == ([], f"http://dyff.test/invitations/{known.invitation['code']}")
    async with known.guest() as guest:
        for plural, entity in known.rests_on.items():
            assert (await guest.get(f"/v0/{plural}/{entity}")).status_code == 200
            assert (await guest.head(f"/v0/{plural}/{entity}")).status_code == 200
            assert (await guest.get(f"/v0/{plural}")).status_code == 403
        for rest in ("dossier", "provenance", "eee", "scores", "documentation"):
            assert (await guest.get(f"/v0/safetycases/{known.case}/{rest}")).status_code == 200, rest
        assert all(each["visible"] for each in (await guest.get(f"/v0/safetycases/{known.case}/dossier")).json()["restsOn"])
        assert (await guest.get(f"/safetycases/{known.case}")).status_code == 200
        for plural, entity in known.others.items():
            assert (await guest.get(f"/v0/{plural}/{entity}")).status_code == 403
            for rest in ("provenance", "manifest", "downlinks", "files/index.html"):
                assert (await guest.get(f"/v0/{plural}/{entity}/{rest}")).status_code == 403
        assert (await guest.get(f"/safetycases/{known.others['safetycases']}")).status_code == 404
        assert (await guest.get(f"/v0/safetycases/{known.others['safetycases']}/dossier")).status_code == 404


async def test_files_are_read_by_their_stable_addresses(known):
    """The document and its manifest, also with the code as a password, and in parts; a path that leaves the entity is none of its files."""
    one = f"/v0/safetycases/{known.case}"
    password = base64.b64encode(f"guest:{known.invitation['code']}".encode()).decode()
    async with known.guest() as guest, known.world.client("") as anybody:
        assert (await guest.get(f"{one}/manifest")).status_code == 200
        assert (await anybody.get(f"{one}/manifest", headers={"Authorization": f"Basic {password}"})).status_code == 200
        redirect = await guest.get(f"{one}/files/index.html")
        part = await anybody.get(redirect.headers["location"], headers={"Range": "bytes=0-8"})
        assert (redirect.status_code, part.status_code, part.content) == (307, 206, cases.NOTEBOOK[:9])
        for path in ("../../x", "..%2f..%2fx", f"../../{known.others['safetycases']}/index.html", "%2e%2e/index.html"):
            answer = await guest.get(f"{one}/files/{path}")
            assert answer.status_code in (403, 404), path


async def test_every_other_route_is_refused(known):
    """Whatever there is below an entity that the invitation shows: nothing but the listed reads, and nothing reaches the log."""
    async with known.guest() as guest:
        routes = (await guest.get("/v0/openapi.json")).json()["paths"]
        before, asked = len(await known.world.events()), 0
        for path, found in routes.items():
            plural = path.split("/")[2] if path.startswith("/v0/") else ""
            entity = known.rests_on.get(plural, known.world.account)
            target = path.replace("{id}", entity).replace("{path}", "a").replace("{endpoint}", "x").replace("{token}", "0" * 32)
            for method, about in found.items():
                operation = about["operationId"].removeprefix(f"{plural}_")
                if method == "get" and (operation in invited.OPERATIONS and plural in registry.BY_PLURAL):
                    continue
                if about["security"] == [] or path.startswith(("/safetycases", "/invitations")):
                    continue
                answer = await guest.request(method.upper(), target, content=b"{}")
                assert answer.status_code == 403, (method, path, answer.text)
                asked += 1
        assert asked > 60
        assert len(await known.world.events()) == before


async def refusals(known, code):
    """How a code is refused: as a token, and as a link."""
    async with known.guest(code) as guest, known.world.client("") as anybody:
        answer = await guest.get(f"/v0/safetycases/{known.case}")
        link = await anybody.get(f"/invitations/{code}")
        assert "set-cookie" not in link.headers
        return answer.status_code, answer.text, link.status_code, link.text


async def test_unknown_expired_and_revoked_codes_look_alike(known):
    """The same answers, whatever the reason; a code that differs in one letter, or has another's ID, is as unknown as any."""
    code, world = known.invitation["code"], known.world
    wrong = [code[:-1] + ("a" if code[-1] != "a" else "b"), code.replace(known.invitation["id"], "0" * 32), f"{code}x", code[:-1]]
    other = await known.invite(note="second")
    wrong.append(code.replace(known.invitation["id"], other["id"]))
    found = {await refusals(known, each) for each in wrong}
    assert (await known.api.delete(f"/v0/safetycases/{known.case}/invitations/{other['id']}")).status_code == 200
    found.add(await refusals(known, other["code"]))
    expired = await world.services.accounts.get_key(known.invitation["id"])
    await world.services.accounts.revoke_key(world.account, expired.id)
    await world.services.accounts.add_key(msgspec.structs.replace(expired, expires=world.services.clock.now()))
    found.add(await refusals(known, code))
    ((token, text, link, page),) = found
    assert (token, link, "expired or been revoked" in text, "opens nothing" in page) == (401, 404, True, True)


@pytest.mark.parametrize("change", ["case deleted", "account suspended", "signing secret", "all tokens revoked"])
async def test_what_ends_an_invitation(known, change):
    """The case is deleted, the account is suspended, all tokens are invalidated, or revoked: nothing is opened with the next request."""
    world, accounts = known.world, known.world.services.accounts
    async with known.guest() as guest:
        assert (await guest.get(f"/v0/datasets/{known.audit.dataset}")).status_code == 200
        if change == "case deleted":
            deleted = await known.api.put(f"/v0/safetycases/{known.case}/delete")
            await known.api.get(f"/v0/safetycases/{known.case}", headers={"Dyff-Position": deleted.headers["dyff-position"]})
        elif change == "account suspended":
            await accounts.set_status(world.account, port.SUSPENDED, None)
        elif change == "signing secret":
            await accounts.rotate_signing_secret()
        else:
            assert (await known.api.delete(f"/v0/accounts/{world.account}/tokens")).status_code == 200
        for path in (f"/v0/datasets/{known.audit.dataset}", f"/v0/safetycases/{known.case}", f"/safetycases/{known.case}"):
            assert (await guest.get(path)).status_code == 401, path


async def test_a_deleted_case_invites_nobody(known):
    """It is a conflict; a wrong duration is named."""
    far = await known.api.post(f"/v0/safetycases/{known.case}/invitations", json={"days": 366})
    assert (far.status_code, far.json()["detail"][0]["loc"]) == (422, ["body", "days"])
    deleted = await known.api.put(f"/v0/safetycases/{known.case}/delete")
    await known.api.get(f"/v0/safetycases/{known.case}", headers={"Dyff-Position": deleted.headers["dyff-position"]})
    assert (await known.api.post(f"/v0/safetycases/{known.case}/invitations")).status_code == 409


async def test_nobody_invites_to_more_than_they_may_read(known):
    """What the account's permissions or the caller's token leave out is left out, and the answer says so; later reductions count, too."""
    world = known.world
    only = [grants.Grant((each,), ("*",), (world.account,)) for each in ("safetycases", "measurements")]
    async with world.client(await world.token(*only)) as limited:
        made = (await limited.post(f"/v0/safetycases/{known.case}/invitations", json={})).json()
    assert set(made["entities"]) == {known.case, known.measurement}
    assert {known.evaluation, known.audit.dataset} <= set(made["leftOut"])
    async with known.guest(made["code"]) as guest:
        assert (await guest.get(f"/v0/evaluations/{known.evaluation}")).status_code == 403
    reader = grants.Grant(("*",), ("get", "query", "data"), ("*",))
    async with world.client(await world.token(reader)) as client:
        for method, path in (("POST", ""), ("GET", ""), ("DELETE", f"/{made['id']}")):
            answer = await client.request(method, f"/v0/safetycases/{known.case}/invitations{path}")
            assert answer.status_code == 403
    await world.services.accounts.set_permissions(world.account, [grants.Grant(("safetycases",), ("*",), ("*",))], "v")
    async with known.guest() as guest:
        assert (await guest.get(f"/v0/safetycases/{known.case}")).status_code == 200
        assert (await guest.get(f"/v0/measurements/{known.measurement}")).status_code == 403


async def test_the_link_opens_the_page_without_the_code_in_an_address(known):
    """It sets cookies that only the paths of the page and its exports get, that no script reads, and that requests of other sites lack."""
    async with known.world.client("") as browser:
        opened = await browser.get(f"/invitations/{known.invitation['code']}")
        assert (opened.status_code, opened.headers["location"]) == (303, f"/safetycases/{known.case}")
        assert (opened.headers["referrer-policy"], opened.headers["cache-control"]) == ("no-referrer", "no-store")
        set_ = opened.headers.get_list("set-cookie")
        assert [each.split("; ")[1:] for each in set_] == [
            [f"Path={path}/{known.case}", "HttpOnly", "SameSite=Lax"] for path in ("/safetycases", "/v0/safetycases")
        ]
        cookie = {"Cookie": set_[0].split(";")[0]}
        browser.cookies.clear()
        for path, status in (
            (f"/safetycases/{known.case}", 200), (f"/safetycases/{known.case}/document", 200),
            (f"/v0/safetycases/{known.case}/dossier", 200),
            (f"/v0/safetycases/{known.case}/provenance", 200), (f"/v0/safetycases/{known.case}", 401),
            (f"/v0/datasets/{known.audit.dataset}", 401), (f"/safetycases/{known.others['safetycases']}", 404),
            (f"/v0/safetycases/{known.others['safetycases']}/provenance", 404), (f"/v0/measurements/{known.measurement}/provenance", 404),
        ):  # fmt: skip
            assert (await browser.get(path, headers=cookie)).status_code == status, path
        assert (await browser.put(f"/v0/safetycases/{known.case}/delete", headers=cookie)).status_code == 401
        page = await browser.get(f"/safetycases/{known.case}", headers=cookie)
        assert (page.headers["cache-control"], page.headers["vary"]) == ("private, no-cache", "authorization, cookie")
        for wrong in ("dyff-invitation=x", "=;;;\x7f", f"dyff-invitation={known.invitation['code']}x"):
            assert (await browser.get(f"/safetycases/{known.case}", headers={"Cookie": wrong})).status_code == 404
        await known.audit.publish("safetycases", known.case)
        assert (await browser.get(f"/safetycases/{known.case}", headers={"Cookie": "dyff-invitation=x"})).status_code == 200


async def test_each_use_is_in_the_audit_log_and_in_the_history(known):
    """Also what only reads, and what is refused. The secret is in neither, nor in what reaches the log."""
    known.audited.forget()
    async with known.guest() as guest, known.world.client("") as browser:
        await guest.get(f"/v0/safetycases/{known.case}")
        await guest.get(f"/v0/safetycases/{known.case}")
        await guest.get(f"/v0/evaluations/{known.others['evaluations']}")
        await guest.get("/v0/datasets")
        await browser.get(f"/invitations/{known.invitation['code']}")
        await guest.get(f"/v0/{known.invitation['code']}")
    entries = [(each["action"], each["outcome"], each.get("entity"), each["stream"], each["token"]) for each in known.audited.entries()]
    invitation = known.invitation["id"]
    assert entries == [
        ("safetycases.get", "ok", known.case, "audit", invitation), ("safetycases.get", "ok", known.case, "audit", invitation),
        ("evaluations.get", "refused", known.others["evaluations"], "audit", invitation),
        ("datasets.query", "refused", None, "audit", invitation), ("invitations.open", "ok", known.case, "audit", invitation),
    ]  # fmt: skip
    listed = (await known.api.get(f"/v0/safetycases/{known.case}/invitations")).json()
    assert [each["id"] for each in listed] == [invitation]
    assert {(each["action"], each.get("entity")): each["count"] for each in listed[0]["uses"]} == {
        ("safetycases.get", known.case): 2, ("evaluations.get", None): 1, ("invitations.open", known.case): 1,
    }  # fmt: skip
    await known.api.delete(f"/v0/safetycases/{known.case}/invitations/{invitation}")
    assert (await known.api.get(f"/v0/safetycases/{known.case}/invitations")).json() == []
    changes = [each.body for each in await known.world.services.accounts.outbox(1000)]
    names = [json.loads(each)["change"] for each in changes]
    assert names.count("UseInvitation") >= 1
    assert names[-1] == "RevokeAccountKey"
    (made,) = [json.loads(each)["data"] for each in changes if invitation in each.decode() and b"AddAccountKey" in each]
    assert made["invitation"]["case"] == known.case
    secret = known.invitation["code"].rpartition(invitation)[2].strip("-")
    assert secret not in known.audited.text() + b"".join(changes).decode() + json.dumps(listed)
    known.audited.forget()
    made = await known.invite()
    (entry,) = known.audited.entries("safetycases.invite")
    assert (entry["target"], entry["entity"]) == (made["id"], known.case)


async def test_wrong_codes_of_one_address_are_limited(known, monkeypatch):
    """Further ones are not looked up, and say when to try again; a code that was valid before is no guess."""
    monkeypatch.setattr(invited, "MAX_WRONG_PER_MINUTE", 2)
    async with known.guest() as guest, known.world.client("") as anybody:
        assert (await guest.get(f"/v0/safetycases/{known.case}")).status_code == 200
        statuses = [(await anybody.get(f"/invitations/{inviting.PREFIX}{n:032x}-{'a' * 43}")).status_code for n in range(3)]
        assert statuses == [404, 404, 503]
        assert (await guest.get(f"/v0/safetycases/{known.case}")).status_code == 200


async def test_one_invitation_is_limited(known, monkeypatch):
    """The guest cannot fill the log, nor keep the server busy."""
    monkeypatch.setattr(invited, "MAX_PER_MINUTE", 2)
    async with known.guest() as guest:
        assert {(await guest.get(f"/v0/safetycases/{known.case}")).status_code for _ in range(4)} == {200, 503}


async def test_an_invitation_is_no_token_of_its_account(known):
    """It is not among the tokens, cannot be revoked as one by a stranger, and reads nothing about the account."""
    listed = (await known.api.get(f"/v0/accounts/{known.world.account}/tokens")).json()
    assert known.invitation["id"] not in [each["id"] for each in listed]
    async with known.guest() as guest:
        for path in ("", "/tokens", "/permissions", "/usage"):
            assert (await guest.get(f"/v0/accounts/{known.world.account}{path}")).status_code == 403
