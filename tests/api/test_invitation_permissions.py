"""What an invitation can do, as docs/permissions.md says: its table is the list of cases."""

from __future__ import annotations

import re

import pytest
import pytest_asyncio

from dyff.api import invited
from tests.api.test_auditing import started
from tests.api.test_invitations import Invited
from tests.api.test_permissions import PAGE

ROW = re.compile(r"^\| `(GET|POST|PUT|PATCH|DELETE) (\S+)` \| (yes|no) \| (yes|no) \| (yes|no) \|$", re.MULTILINE)
ROWS = ROW.findall(PAGE)
COLUMNS = ("code", "cookie", "another entity")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def known(tmp_path_factory):
    """One world for all lines of the table."""
    async for audited in started(tmp_path_factory.mktemp("invited")):
        found = await Invited(audited).prepare()
        await found.audit.world.services.objects.put(f"x/{found.case}", b"")
        yield found
        await found.api.aclose()


def target(known, path, column):
    """The path with IDs: of what the case rests on, or of something else. None if the row has nothing else."""
    own = {plural.removesuffix("s"): each for plural, each in known.rests_on.items()}
    own |= {"account": known.world.account, "invitation": known.invitation["id"]}
    other = {plural.removesuffix("s"): each for plural, each in known.others.items()}
    names = {**own, **(other if column == "another entity" else {})}
    for name in re.findall(r"{(\w+)}", path):
        if column == "another entity" and name not in {*other, "account", "invitation"}:
            return None
        path = path.replace(f"{{{name}}}", names[name])
    return path


def test_the_table_is_read():
    """Every line is a case, everything that an invitation reads is in one, and so is everything that a browser reads with its cookie."""
    text = PAGE.partition("### What an invitation can do")[2].partition("\n## ")[0]
    assert len(ROWS) == text.count("\n| `") > 40
    said = {row[1].rpartition("/")[2] for row in ROWS if row[2] == "yes"}
    reads = invited.OPERATIONS - {"get", "file", "page"}
    assert reads <= said
    assert {row[1].rpartition("/")[2] for row in ROWS if row[3] == "yes"} == invited.BY_COOKIE - {"page"} | {"{safetycase}"}


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0]} {row[1]}" for row in ROWS])
@pytest.mark.asyncio(loop_scope="module")
async def test_what_an_invitation_can_do(known, row, column):
    """It is answered where the table says yes; elsewhere it is 403, and without a token 401, or 404 where everybody may ask."""
    path, allowed = target(known, row[1], column), row[2 + COLUMNS.index(column)] == "yes"
    if path is None:  # the other case is about the same system, data and methods
        return
    headers = {"Cookie": f"{invited.COOKIE}={known.invitation['code']}"} if column == "cookie" else {}
    async with known.guest("" if column == "cookie" else None) as client:
        answer = await client.request(row[0], path, headers=headers, json=None if row[0] in ("GET", "DELETE") else {})
    if allowed:
        assert answer.status_code in (200, 307, 409), (answer.status_code, answer.text)  # 409: it has no such data
    else:
        hidden = path.startswith("/safetycases/") or path.endswith(("/dossier", "/provenance", "/eee", "/croissant"))
        refused = {"code": {403}, "cookie": {401, 404} if hidden else {401}, "another entity": {403, 404} if hidden else {403}}
        assert answer.status_code in refused[column], (answer.status_code, answer.text)
