"""What a console and a notebook show of the SDK's objects: short, escaped, and without anything that works as a credential."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import httpx
import msgspec
import pytest
from rich.pretty import pretty_repr

from dyff.entities import answers, registry, showing
from dyff.sdk import Client, errors, folders, models
from tests.sdk.conftest import got

MARKUP = "<script>alert('x')</script>&\"<img src=x onerror=alert(1)>"
TOKEN = "aaaa.bbbb.s3cr3t-signature"
SIGNATURE = "c0ffee5ecret5ignature"
SIGNED = f"https://user:passw0rd@store.example/bucket/part-0?X-Amz-Signature={SIGNATURE}&X-Amz-Credential=AKIASECRETKEY%2F2026"
SECRETS = (TOKEN, SIGNATURE, "AKIASECRETKEY", "passw0rd")
ID = "a" * 32


def filled(form, depth=0):
    """A value of a type, with markup, and much of everything, wherever its type allows that. `depth`: the lists and maps around it.

    Inner ones are shorter: 500 of 500 of 500 of an account's grants were gigabytes.
    """
    count = (500, 40, 5)[min(depth, 2)]
    kind = msgspec.inspect.type_info(form) if isinstance(form, type) else form
    match kind:
        case msgspec.inspect.StructType(cls=cls, fields=fields):
            return {each.encode_name: secret(cls, each.name) or filled(each.type, depth) for each in fields}
        case msgspec.inspect.ListType(item_type=item):
            return [filled(item, depth + 1)] * count
        case msgspec.inspect.DictType(value_type=value):
            return {f"{MARKUP}{n}": filled(value, depth + 1) for n in range(count)}
        case msgspec.inspect.UnionType(types=types):
            return filled(next(each for each in types if not isinstance(each, msgspec.inspect.NoneType)), depth)
        case msgspec.inspect.Metadata(type=inner):
            return filled(inner, depth)
        case msgspec.inspect.IntType():
            return 7
        case msgspec.inspect.FloatType():
            return 0.5
        case msgspec.inspect.BoolType():
            return True
        case _:
            return MARKUP * 1000


def secret(cls, name):
    return TOKEN if name in getattr(cls, "hidden", ()) and name != "headers" else SIGNED if name in getattr(cls, "links", ()) else None


ALL = sorted({each for each in vars(answers).values() if isinstance(each, type) and issubclass(each, showing.Shown)}, key=str)
SHOWN = [*(row.entity for row in registry.ROWS), *(each for each in ALL if each is not showing.Shown), models.InferenceSessionAndToken]


@pytest.mark.parametrize("form", SHOWN, ids=lambda form: form.__name__)
def test_whatever_others_wrote_looks_short_and_harmless(form):
    """A kilobyte of text in every field makes no long line, markup stays text, and what is secret is not shown."""
    value = msgspec.convert(filled(form), form)
    for text in (repr(value), str(value), pretty_repr(value)):
        assert len(text) < 6000, text
        assert not any(each in text for each in SECRETS)
    html = value._repr_html_()
    assert len(html) < 20_000
    assert "<script" not in html
    assert "<img" not in html
    assert not any(each in html for each in SECRETS)


def test_an_entity_says_what_it_is():
    """ID, status, reason and name are readable; a schema in base64 is not there."""
    dataset = {"id": ID, "account": "me", "kind": "Dataset", "status": "Created", "reason": "QuotaLimit", "name": "prompts"}
    found = models.read({**dataset, "artifacts": [], "schema": {"arrowSchema": "QUJD" * 1000}}, models.Dataset)
    assert repr(found) == (
        f"Dataset(id={ID!r}, account='me', kind='Dataset', status='Created', reason='QuotaLimit', name='prompts', schema={{1 key}})"
    )


async def test_lists_show_their_beginning(connect):
    """A list of a thousand is a list like any other, shows three in a console, and twenty in a notebook, escaped."""
    one = {"id": ID, "account": "me", "kind": "Model", "status": "Ready", "name": MARKUP, "artifact": {"kind": "Mock"}}
    found = await got(connect(lambda request: httpx.Response(200, json=[{**one, "source": {"kind": "Mock"}}] * 1000)).models.query())
    assert isinstance(found, list)
    assert repr(found).endswith("and 997 more]")
    assert repr(found).count("Model(") == 3
    shown: Any = found  # a list with one method more, for notebooks
    html = shown._repr_html_()
    assert html.count("<tr>") == 21
    assert "<img" not in html
    assert "and 980 more" in html


async def test_a_new_token_is_a_string_that_is_not_displayed(connect):
    """It works where a token is needed, and a notebook that shows the last value of a cell does not store it."""
    client = connect(lambda request: httpx.Response(201, json=TOKEN))
    token = await got(client.accounts.create_token(ID, {"grants": [], "expires": "2099-01-01T00:00:00Z"}))
    assert token == TOKEN
    assert f"{token}" == str(token) == TOKEN
    assert json.dumps(token) == json.dumps(TOKEN)
    assert TOKEN not in repr([token])


def part(value) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_print_shows_the_lines_of_logs():
    """Each line of a workflow is one line after its time, and what programs wrote cannot act on the terminal."""
    entries = [
        answers.LogEntry(timestamp=f"2026-01-01T00:00:0{n}.000000Z", message=text) for n, text in enumerate(["gr\u00fcn\tx", "\x1b[2J\nb"])
    ]
    shown = str(answers.WorkflowLogs(workflow={}, logs=entries))
    assert shown == "2026-01-01T00:00:00.000000Z gr\u00fcn\tx\n2026-01-01T00:00:01.000000Z \\x1b[2J\\nb"


def test_print_shows_the_last_lines_of_long_logs():
    """The number of the others is given, and a long line is cut."""
    entries = [answers.LogEntry(timestamp="2026-01-01T00:00:00.000000Z", message=f"{n} " + "x" * 1000) for n in range(showing.ROWS + 7)]
    first, *lines = str(answers.WorkflowLogs(workflow={}, logs=entries)).splitlines()
    assert first == "... (7 lines before; .logs has them)"
    assert [line.split()[1] for line in lines] == [str(n) for n in range(7, showing.ROWS + 7)]
    assert all(len(line) == showing.LINE_CHARS + len("...") for line in lines)


def test_inspect_hides_the_secret():
    """The claims are readable except for the one by which the token can be used or revoked."""
    header, claims = folders.Tokens().inspect(f"{part({'alg': 'HS256'})}.{part({'sub': 'Account/me', 'secret': 's3cr3t'})}.signature")
    assert header == {"alg": "HS256"}
    assert claims == {"sub": "Account/me", "secret": "(hidden)"}


@pytest.mark.parametrize("wrong", ["s3cr3t", "s3cr3t.s3cr3t.s3cr3t", f"{part('s3cr3t')}.{part([1])}.x", "\u00e4.s3cr3t.x"])
def test_what_is_no_token_is_not_repeated(wrong):
    """The error for a wrong token does not contain it, nor does any error behind it."""
    with pytest.raises(ValueError, match="not a token") as caught:
        folders.Tokens().inspect(wrong)
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("wrong", ["s3cr3t\nx", "s3cr3t\u2026", "\x00s3cr3t", "   "])
def test_a_token_that_no_header_can_have_is_refused_at_once(wrong):
    """The HTTP library's own error would contain it."""
    with pytest.raises(ValueError, match="one line of ASCII") as caught:
        Client(api_token=wrong)
    assert "s3cr3t" not in repr(caught.value)


@pytest.mark.parametrize("status", [307, 400, 401, 403, 404, 409, 500, 503])
async def test_no_error_or_log_has_a_credential(connect, caplog, tmp_path, status):
    """Not the token, not the URL's signature: also if server and store repeat them, and everything is logged."""
    caplog.set_level(logging.DEBUG)
    link = {"artifact": {"path": "part-0"}, "signedURL": {"url": SIGNED}}
    of_store = f"<Error><SignatureProvided>{SIGNATURE}</SignatureProvided>AKIASECRETKEY/2026</Error>"

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/downlinks"):
            return httpx.Response(200, json=[link])
        echo = of_store if request.url.host == "store.example" else f"not for {TOKEN}"
        return httpx.Response(status, text=echo, headers={"Location": SIGNED} if status == 307 else {})

    client = connect(handler)
    client._http._authorization = f"Bearer {TOKEN}"
    said = []
    for call in (
        lambda: client.evaluations.download(ID, tmp_path / "there", progress=False),
        lambda: client.evaluations.get(ID),
        lambda: client.inferencesessions.client(ID, TOKEN, endpoint="x").infer({}),
    ):
        with pytest.raises(errors.SdkError) as caught:
            await got(call())
        error: BaseException | None = caught.value
        while error is not None:
            said += [str(error), repr(error), repr(vars(error))]
            error = error.__cause__ or error.__context__
    said += [record.getMessage() for record in caplog.records]
    assert any("store.example/bucket/part-0" in each for each in said)
    for each in said:
        assert not any(secret in each for secret in SECRETS), each


def test_a_client_does_not_show_its_token():
    """Neither the client nor its parts."""
    client = Client(api_token=TOKEN, endpoint="http://server/v0")
    assert repr(client) == "Client(endpoint='http://server/v0')"
    for each in (client, client._http, client.datasets, client.inferencesessions.client(ID, TOKEN, endpoint="x")):
        assert TOKEN not in repr(each)


async def test_an_iteration_has_a_name(connect, kind):
    """Its repr says of what it is."""
    found = connect(lambda request: httpx.Response(200, json=[])).models.pages()
    assert "Group.pages" in repr(found)
    assert [each async for each in found] == [] if kind is not Client else list(found) == []
