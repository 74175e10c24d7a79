"""The group of widgets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dyff.entities.kinds.widget import Widget

from dyff.sdk import groups, models
from dyff.sdk.calls import Awaited, S, operation


class Widgets(groups.Uploadable[S, Widget, Mapping[str, Any]], groups.Downloadable[S, Widget], groups.Logged[S, Widget]):
    """Widgets."""

    @operation
    async def edit_parts(self, id: str, parts: Mapping[str, str | None]) -> Widget:  # noqa: A002
        """Set parts; None removes one.

        Example:
            `client.widgets.edit_parts(widget.id, {"lid": "brass"})`
        """
        return models.read(await self._http.call("PATCH", self._path(id, "parts"), body={"parts": dict(parts)}), Widget)

    @operation
    async def upload(self: Widgets[Awaited], widget: Widget, folder: Path | str) -> None:
        """Send the files of a widget that was painted elsewhere.

        Example:
            `client.widgets.upload(widget, "painted")`
        """
        await self._upload(widget.id, Path(folder), [file.path for file in widget.files], False)


GROUP = Widgets
