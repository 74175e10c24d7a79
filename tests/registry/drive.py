"""Uses widgets as people would, against a server that has the kind: `python drive.py ENDPOINT ACCOUNT TOKEN FOLDER`."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from dyff.sdk import Client, errors


def main(endpoint: str, account: str, token: str, folder: Path) -> None:
    """All of it, in order; what is not as it must be raises."""
    client: Any = Client(api_token=token, endpoint=endpoint)
    http = httpx.Client(base_url=f"{endpoint}/", headers={"Authorization": f"Bearer {token}"})
    painted = client.widgets.wait(client.widgets.create({"account": account, "name": "first", "color": "red"}).id, progress=False)
    assert (painted.status, painted.color, painted.parts) == ("Ready", "red", {}), painted
    like = client.widgets.create({"account": account, "name": "second", "color": "blue", "like": painted.id})
    assert like.like == {"id": painted.id, "account": account, "name": "first", "color": "red"}, like
    queries(client, account, painted.id, like.id)
    edits(client, http, painted.id, like.id)
    outputs(client, http, painted.id, folder)
    uploads(client, account, folder)
    refusals(http, account)
    assert client.widgets.delete(like.id).status == "Deleted"
    assert client.widgets.get(like.id).status == "Deleted"
    listed = http.get("openapi.json").json()
    assert {"widgets_create", "widgets_edit_parts", "widgets_color"} <= operations(listed), operations(listed)


def queries(client: Any, account: str, first: str, second: str) -> None:
    """Every key of the row, and those that all kinds have."""
    keys = {"id": first, "name": "first", "color": "red", "status": "Ready"}
    for key, value in keys.items():
        assert first in [each.id for each in client.widgets.query(account=account, **{key: value})], key
        other = "Error" if key == "status" else "other"  # one that does not exist is an error
        assert [each.id for each in client.widgets.query(account=account, **{key: other})] == [], key
    assert [each.id for each in client.widgets.query(like=first)] == [second]


def edits(client: Any, http: httpx.Client, first: str, blue: str) -> None:
    """Labels, documentation, and the edit of its own."""
    client.widgets.label(first, {"shelf": "3"})
    assert [each.id for each in client.widgets.query(labels={"shelf": "3"})] == [first]
    whole = http.patch(f"widgets/{first}/documentation", json={"documentation": {"title": "A widget"}}).json()
    assert (whole["id"], whole["metadata"]["documentation"]) == (first, {"title": "A widget"}), whole
    assert client.widgets.documentation(first).title == "A widget"
    assert client.widgets.edit_documentation(first, {"summary": "Red"}).summary == "Red"
    assert client.widgets.edit_parts(first, {"lid": "brass", "foot": "oak"}).parts == {"lid": "brass", "foot": "oak"}
    assert client.widgets.edit_parts(first, {"lid": None}).parts == {"foot": "oak"}
    assert client.widgets.get(first).parts == {"foot": "oak"}
    refused = http.patch(f"widgets/{blue}/parts", json={"parts": {"lid": "tin"}})
    assert (refused.status_code, refused.json()["detail"][0]["msg"]) == (422, "parts: a blue widget has no parts; create a red one")
    assert http.patch(f"widgets/{first}/parts", json={"parts": {"LID": "tin"}}).status_code == 422
    assert http.get(f"widgets/{first}/color").json() == "red"


def outputs(client: Any, http: httpx.Client, first: str, folder: Path) -> None:
    """What the run made, and what it wrote."""
    assert client.widgets.progress(first) is not None
    client.widgets.download(first, folder / "painted", progress=False)
    assert (folder / "painted/picture.txt").read_text() == "all red\n"
    lines = [line.message for line in client.widgets.workflow_logs(first).logs]
    assert f"painting {first} red" in " ".join(lines), lines
    assert http.get(f"widgets/{first}/logs").json()["artifact"]["path"] == "logs.txt"


def uploads(client: Any, account: str, folder: Path) -> None:
    """A widget whose files come from here."""
    made = folder / "made"
    made.mkdir()
    (made / "picture.txt").write_text("mine\n")
    md5 = base64.b64encode(hashlib.md5(b"mine\n").digest()).decode()
    files = [{"path": "picture.txt", "digest": {"md5": md5}}]
    widget = client.widgets.create({"account": account, "name": "third", "files": files})
    assert widget.status == "WaitingForUpload", widget
    with pytest.raises(errors.BadRequest, match=r"picture\.txt"):
        client.widgets.finalize(widget.id)
    client.widgets.upload(widget, made)
    assert client.widgets.wait(widget.id, progress=False).status == "Ready"
    assert [each.artifact.path for each in client.widgets.downlinks(widget.id)] == ["picture.txt"]


def refusals(http: httpx.Client, account: str) -> None:
    """Wrong requests are answered by the field."""
    for body, field in (({"name": "x"}, "account"), ({"account": account, "name": "x", "colour": "red"}, "colour")):
        answer = http.post("widgets", json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"][0]["loc"][-1] == field, answer.text
    missing = http.post("widgets", json={"account": account, "name": "x", "like": "0" * 32})
    assert (missing.status_code, "like" in missing.text) == (404, True), missing.text
    paths = http.post(
        "widgets", json={"account": account, "name": "x", "files": [{"path": "../x", "digest": {"md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}}]}
    )
    assert paths.json()["detail"][0]["loc"] == ["body", "files", 0, "path"], paths.text


def operations(document: dict) -> set[str]:
    """The names of all operations."""
    return {each["operationId"] for path in document["paths"].values() for each in path.values()}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    sys.stdout.write(json.dumps("all of it works") + "\n")
