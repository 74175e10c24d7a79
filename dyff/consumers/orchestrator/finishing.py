"""Works on each entity that is due until it has an end, without ever working twice at the same time on the same one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import anyio

from dyff.consumers.common import reconciling
from dyff.consumers.common.mirror import Mirrored, StateMirror
from dyff.kernel.telemetry import log_fields

RESYNC_S = 30.0


async def forever(
    mirror: StateMirror, trigger: reconciling.Trigger, due: Callable[[], Iterable[Mirrored]], finish: Callable[[str], Awaitable[None]]
) -> None:
    """Look for entities that are due until cancelled: whenever `trigger` is set, and from time to time.

    `finish(ID)`: returns when the entity has an end. Its log lines say which entity it is.

    Raises:
        Any exception of `finish`.
    """
    busy: set[str] = set()

    async def work(entity_id: str) -> None:
        if (begun := mirror.get(entity_id)) is not None:
            log_fields.begin(begun.about)
        try:
            await finish(entity_id)
        finally:
            busy.discard(entity_id)

    async with anyio.create_task_group() as group:
        while True:
            for mirrored in list(due()):
                entity_id = mirrored.entity["id"]
                if entity_id not in busy:
                    busy.add(entity_id)
                    group.start_soon(work, entity_id)
            await anyio.sleep(reconciling.PAUSE_S)
            await trigger.wait(RESYNC_S)
