"""Read by mypy (see test_types.py), never run: what the types of both clients promise."""

from typing import Any, assert_type

from dyff.sdk import AsyncClient, Client, models, requests

MODEL: requests.ModelCreateRequest = {
    "account": "me",
    "name": "mine",
    "source": {"kind": "Mock"},
    "artifact": {"kind": "Mock"},
    "resources": {"storage": "1Gi"},
}
WRONG: requests.EvaluationCreateRequest = {"account": "me", "dataset": "id", "datasett": "id"}  # wants: typeddict-unknown-key
SESSION: requests.SessionSpec = {"inferenceService": "id"}


def blocking(client: Client) -> None:
    assert_type(client.datasets.get("id"), models.Dataset)
    assert_type(client.evaluations.query(account="me"), list[models.Evaluation])
    assert_type(client.models.create(MODEL), models.Model)
    assert_type(client.evaluations.wait("id"), models.Evaluation)
    assert_type(client.inferencesessions.wait("id"), models.InferenceSession)
    for model in client.models.pages():
        assert_type(model, models.Model)
    made = client.inferencesessions.create({"account": "me", "inferenceService": "id"})
    interface = made.inferencesession.inferenceService.interface
    assert_type(client.inferencesessions.client("id", made.token, interface=interface).infer({}), list[Any])
    client.evaluations.create({"account": "me", "dataset": "id", "inferenceSession": SESSION, "client": {"badRequestPolicy": "Skip"}})
    client.accounts.create_token("me", {"grants": client.accounts.get_permissions("me"), "expires": "2099-01-01T00:00:00Z"})
    client.datasets.edit_documentation("id", {"title": None})
    client.evaluations.create({"account": "me", "datasett": "id", "inferenceSession": SESSION})  # wants: arg-type
    client.evaluations.create({"account": "me", "dataset": "id", "client": {"badRequestPolicyy": "Skip"}})  # wants: arg-type
    client.evaluations.create({"account": "me", "dataset": "id", "client": {"badRequestPolicy": "Skp"}})  # wants: arg-type
    client.evaluations.create({"account": "me", "inferenceSession": SESSION})  # wants: arg-type
    client.models.create_from_volume("w", account="me", name="m", resources={"storag": "1Gi"})  # wants: arg-type
    client.accounts.create_token("me", {"grant": [], "expires": "2099-01-01T00:00:00Z"})  # wants: arg-type
    client.datasets.edit_documentation("id", {"titel": "x"})  # wants: arg-type
    client.datasets.get(3)  # wants: arg-type
    client.datasets.gett("id")  # wants: attr-defined
    _ = client.evaluations.upload_volume  # wants: attr-defined


async def awaited(client: AsyncClient) -> None:
    assert_type(await client.datasets.get("id"), models.Dataset)
    assert_type(await client.evaluations.query(account="me"), list[models.Evaluation])
    async for model in client.models.pages():
        assert_type(model, models.Model)
    await client.evaluations.download("id", "there")
    await client.inferencesessions.create({"account": "me", "inferenceService": "id", "replica": 2})  # wants: arg-type
    _ = client.datasets.get("id").status  # wants: attr-defined
    for _ in client.models.pages():  # wants: attr-defined
        pass
