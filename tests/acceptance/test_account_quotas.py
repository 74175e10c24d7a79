"""Limits of what an account keeps, on a real server: the published client, our own, and the command line."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from dyff.client import Client
from dyff.client.errors import HTTPError

from dyff.sdk import Client as OurClient
from dyff.sdk import errors
from tests.acceptance.conftest import Server
from tests.entities import bodies

pytestmark = pytest.mark.acceptance


@pytest.fixture
def limited(tmp_path):
    """A server on which an account may keep one entity."""
    subject = Server(tmp_path / "data", {"DYFF_QUOTAS__ENTITIES": "1"})
    subject.start()
    yield subject
    if subject.is_running:
        subject.kill()


def test_an_exceeded_limit_is_clear_and_is_not_tried_again(limited, monkeypatch):
    """Both clients raise at the first answer, with the usage; it holds after a restart; deleting works; the command line shows it."""
    account = limited.command("account", "create", "--name", "tester")
    token = limited.command("token", "create", "--account", account)
    sent: list[str] = []
    handle = httpx.HTTPTransport.handle_request

    def counted(self, request):
        sent.append(request.method)
        return handle(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", counted)
    body: Any = {**bodies.MODEL_MOCK, "account": account}
    with OurClient(api_token=token, endpoint=limited.endpoint) as ours:
        made = ours.models.create(body)
        sent.clear()
        with pytest.raises(errors.NotAllowed, match="Account quota exceeded: 1/1"):
            ours.models.create(body)
        assert sent == ["POST"]
    limited.stop()
    limited.start()
    published = Client(api_token=token, endpoint=limited.endpoint)
    sent.clear()
    with pytest.raises(HTTPError) as found:
        published.models.create(body)
    assert "Account quota exceeded: 1/1" in str(found.value)
    assert sent == ["POST"]
    published.models.delete(made.id)
    shown = json.loads(limited.command("account", "show", account))
    assert shown["entities"] == {"used": 1, "limit": 1}
    assert (shown["name"], shown["tokens"]["used"]) == ("tester", 1)
    assert shown["documentBytes"]["used"] > 100
