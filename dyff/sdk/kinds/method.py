"""The client's group for methods."""

from __future__ import annotations

from dyff.entities import registry
from dyff.sdk import arguments, groups, models, requests
from dyff.sdk.calls import Awaited, S, operation


class Methods(groups.Creatable[S, models.Method, requests.MethodCreateRequest]):
    """Methods."""

    @operation
    async def add_concern(self: Methods[Awaited], id: str, concern: models.UseCase | models.Hazard) -> None:  # noqa: A002
        """Say that a method is about a use case or a hazard.

        Example:
            `client.methods.add_concern(method.id, usecase)`
        """
        await self.label(id, {_label(concern): "1"})

    @operation
    async def remove_concern(self: Methods[Awaited], id: str, concern: models.UseCase | models.Hazard) -> None:  # noqa: A002
        """Take back that a method is about a use case or a hazard.

        Example:
            `client.methods.remove_concern(method.id, usecase)`
        """
        await self.label(id, {_label(concern): None})


GROUP = Methods


def _label(concern: models.UseCase | models.Hazard) -> str:
    arguments.entity(concern, "concern", None, "kind", "documentation")
    return f"{registry.BY_KIND[concern.kind].plural}.dyff.io/{concern.id}"
