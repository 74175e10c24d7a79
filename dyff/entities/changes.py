"""A change of an entity as a stream has it (docs/console-data.md). Tolerant: unknown fields are ignored."""

from __future__ import annotations

import msgspec

from dyff.entities import showing


class Change(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """The state of an entity after a change. `resume`: what a later stream is given as `since`, to begin after this change."""

    kind: str
    plural: str
    id: str
    account: str
    status: str
    reason: str | None = None
    name: str | None = None
    time: str = ""
    position: str = ""
    resume: str = ""
