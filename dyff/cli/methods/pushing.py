"""Uploads a method: its module, the method itself, its documentation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import click

from dyff.cli import reporting
from dyff.cli.methods.folder import EXCLUDED, Folder
from dyff.entities import analysis_requests, registry

if TYPE_CHECKING:
    from dyff.sdk import Client, requests

READY_S = 600.0
MOST_DELETED = 20
"""How often the same content can have been pushed and deleted."""


def push(client: Client, made: Folder, account: str | None) -> None:
    """Upload it, and print what exists. `account`: None for that of the token. What exists already is used.

    Raises:
        SdkError: something failed; what exists was printed before.
    """
    owner = account or _account(client)
    exists: list[str] = []
    try:
        module = _module(client, made, owner, exists)
        method = _method(client, made, owner, module, exists)
        if made.documentation:
            client.methods.edit_documentation(method.id, cast("requests.DocumentationPatch", made.documentation))
    except BaseException:
        if exists:
            click.echo(f"it exists already: {', '.join(exists)}. Push the same folder again: what is there is used.", err=True)
        raise
    reporting.fields([("module", module.id), ("method", method.id), ("account", owner)])
    reporting.line("")
    reporting.line(usage(made, owner, method.id))


def usage(made: Folder, account: str, method: str) -> str:
    """The call of the SDK that uses the method."""
    request = made.request
    group, scope = registry.BY_KIND[request["output"]["kind"]].plural, analysis_requests.NEEDED[request["scope"]]
    parts = [
        ("account", json.dumps(account)),
        ("method", json.dumps(method)),
        ("scope", "{" + ", ".join(f'"{each}": "ID"' for each in scope) + "}"),
        *_listed("arguments", request.get("parameters", ()), "value", lambda each: "..."),
        *_listed("inputs", request.get("inputs", ()), "entity", lambda each: f"ID of the {each['kind']}"),
    ]
    lines = "".join(f'    "{name}": {value},\n' for name, value in parts)
    return f"client.{group}.create({{\n{lines}}})"


def _listed(name: str, entries: Any, of: str, value: Callable[[Any], str]) -> list[tuple[str, str]]:
    shown = ", ".join(f'{{"keyword": {json.dumps(each["keyword"])}, "{of}": "{value(each)}"}}' for each in entries)
    return [(name, f"[{shown}]")] if entries else []


def _account(client: Client) -> str:
    account = client.caller().account
    if account is None:
        reporting.stop("the token is not that of an account: give --account", reporting.WRONG)
    return account


def _module(client: Client, made: Folder, account: str, exists: list[str]) -> Any:
    name = str(made.request["name"])
    digests = [(path, _digest(made, path)) for path in made.files]
    module = _once(
        lambda key: client.modules.create_package(made.module, account=account, name=name, exclude=list(EXCLUDED), idempotency_key=key),
        "module", account, name, digests,
    )  # fmt: skip
    exists.append(f"module {module.id}")
    if client.modules.get(module.id).status != "Ready":
        client.modules.upload_package(module, made.module, progress=False)
        client.modules.wait(module.id, timeout_s=READY_S, progress=False)
    return module


def _method(client: Client, made: Folder, account: str, module: Any, exists: list[str]) -> Any:
    body = cast("requests.MethodCreateRequest", made.body(account, module.id))
    method = _once(lambda key: client.methods.create(body, idempotency_key=key), "method", body)
    exists.append(f"method {method.id}")
    return method


def _once(create: Callable[[str], Any], *content: Any) -> Any:
    """Create an entity, or find the one with this content. One that was deleted is not found, so that another is created."""
    from dyff.sdk import errors

    for number in range(MOST_DELETED):
        key = hashlib.sha256(json.dumps([*content, number], sort_keys=True).encode()).hexdigest()
        try:
            return create(f"dyff-method-push-{key}")
        except errors.Missing as error:
            if error.status != 410 or number == MOST_DELETED - 1:
                raise
    raise AssertionError("unreachable")


def _digest(made: Folder, path: str) -> str:
    with (made.module / path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
