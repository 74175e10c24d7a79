"""Commands and states of a typical size."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

from dyff.bus import envelope, port
from dyff.entities import codecs, commands, folding
from dyff.kernel.positions import Position

NOW = datetime(2026, 11, 23, 23, 42, 0, 123456, tzinfo=UTC)


def an_entity(number: int) -> codecs.Json:
    """Return an evaluation of a typical size, 2.2 KB."""
    names = {"id": f"s{number % 100}", "name": "service", "model": {"id": f"m{number % 50}", "name": "model"}}
    return {
        "id": f"{random.Random(number).getrandbits(128):032x}", "kind": "Evaluation", "account": f"a{number % 5}", "status": "Created",
        "schemaVersion": "0.1", "creationTime": f"2026-01-01T00:00:{number % 60:02}.{number:06}Z", "dataset": f"d{number % 500}",
        "labels": {"team": "red"}, "annotations": [], "inferenceSession": {"inferenceService": {**names, "args": ["x" * 30] * 30}},
        "inferenceSessionReference": "s", "replications": 1, "metadata": {"documentation": {"fullPage": "y" * 750}, "preconditions": []},
    }  # fmt: skip


def a_command(number: int, mixed: bool) -> port.Message:
    """Return a creation. If `mixed`, each creation is followed by two changes of its status, somewhat later."""
    entity = an_entity(number // 3 if mixed else number)
    keywords: dict[str, Any] = {"time": NOW, "expires": datetime(2100, 1, 1, tzinfo=UTC)}
    command_id = f"{number:032x}"
    if not mixed or number % 3 == 0:
        return envelope.command_message(commands.create(command_id, entity, principal="accounts/1", **keywords))
    status = {"status": ("", "Admitted", "Complete")[number % 3]}
    return envelope.command_message(commands.edit(command_id, commands.UPDATE_STATUS, "Evaluation", entity["id"], status, **keywords))


def a_state(number: int, epoch: str) -> port.Message:
    """Return the state after a creation."""
    entity, at = an_entity(number), Position(epoch, 0, number)
    return envelope.state_message(folding.State("Evaluation", entity, at, f"{number:032x}", at, {f"{number:032x}": "2026"}), entity["id"])
