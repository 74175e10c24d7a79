"""Read by mypy (see test_types.py), never run: what the types of both clients promise."""

from typing import Any, assert_type

from dyff.sdk import AsyncClient, Client, models


def blocking(client: Client) -> None:
    assert_type(client.datasets.get("id"), models.Dataset)
    assert_type(client.evaluations.query(account="me"), list[models.Evaluation])
    assert_type(client.models.create({}), models.Model)
    assert_type(client.evaluations.wait("id"), models.Evaluation)
    assert_type(client.inferencesessions.wait("id"), models.InferenceSession)
    for model in client.models.pages():
        assert_type(model, models.Model)
    made = client.inferencesessions.create({})
    interface = made.inferencesession.inferenceService.interface
    assert_type(client.inferencesessions.client("id", made.token, interface=interface).infer({}), list[Any])
    client.datasets.get(3)  # wants: arg-type
    client.datasets.gett("id")  # wants: attr-defined
    _ = client.evaluations.upload_volume  # wants: attr-defined


async def awaited(client: AsyncClient) -> None:
    assert_type(await client.datasets.get("id"), models.Dataset)
    assert_type(await client.evaluations.query(account="me"), list[models.Evaluation])
    async for model in client.models.pages():
        assert_type(model, models.Model)
    await client.evaluations.download("id", "there")
    _ = client.datasets.get("id").status  # wants: attr-defined
    for _ in client.models.pages():  # wants: attr-defined
        pass
