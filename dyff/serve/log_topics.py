"""Watches how the topics are kept, where others can change them: on an engine.

A changed configuration is reported at once, before it deletes anything. A topic that was created again is another log, whose offsets begin
again: what is served from then on would be wrong.
"""

from __future__ import annotations

import functools

import anyio.abc

from dyff.bus import port, topics
from dyff.kernel import degradation, errors

EVERY_S = 60.0
TROUBLE = "topics"
WATCHING = "watch of the topics"


async def run(
    bus: port.Bus,
    partitions: int,
    troubles: degradation.Troubles,
    *,
    every_s: float = EVERY_S,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Look every `every_s` seconds until cancelled. Ready immediately. `partitions`: of events and state, from the settings.

    Raises:
        LogDiverged: a topic was deleted and created again.
    """
    task_status.started()
    known: dict[str, str] = {}
    look = functools.partial(check, bus, topics.specs(partitions), known, troubles)
    await degradation.keep_doing(look, name=WATCHING, every_s=every_s, troubles=troubles)


async def check(bus: port.Bus, specs: tuple[port.TopicSpec, ...], known: dict[str, str], troubles: degradation.Troubles) -> None:
    """Compare once. `known`: the identity of each topic, which is filled at the first look.

    Raises:
        LogDiverged: a topic is another one than at the first look.
        Misconfigured: partitions that someone has added have records.
        Unavailable: the brokers do not answer.
    """
    for spec in specs:
        try:
            found = await bus.topic(spec.name)
        except errors.NotFound:
            continue  # among the problems
        if known.setdefault(spec.name, found.epoch) != found.epoch:
            raise errors.LogDiverged(
                f"topic {spec.name} was deleted and created again while this process used it: restore the log from a backup;"
                " see docs/production.md, 'A topic was changed or deleted'"
            )
    problems = await bus.amend_topics(specs, dry_run=True)
    if problems:
        troubles.report(TROUBLE, f"{'; '.join(problems)}: run 'dyff migrate pre', before records are deleted that are needed")
    else:
        troubles.clear(TROUBLE)
