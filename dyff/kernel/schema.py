"""The schema of what is stored: which steps it went through, which are due, and whether this release may work on it. Pure.

A migration has a number and two phases. `pre` is done before the first process of a new release starts: it only adds, so that the
old release works on. `post` is done when the last process of the old release is gone: it removes and tightens. What a phase does
to one store is a step, which is recorded in the store that it changes. So a release that meets a `pre` that it doesn't know works
on (an upgrade has begun), and one that meets a `post` that it doesn't know must not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, get_args

import msgspec

from dyff.kernel import errors

Phase = Literal["pre", "post"]
PHASES: tuple[Phase, ...] = get_args(Phase)

Steps = Mapping[str, Callable[[Any], Any]]
"""By store, what is done to it: `bus`, `query:mongodb`, `accounts:mongodb`, `accounts:sqlite`, `cluster:sqlite`.

It is given what that store's `apply` says, and does not count on what is done to another store. It is right to do it twice, also at
the same time, and after any part of it was done.
"""


class Migration(msgspec.Struct, frozen=True):
    """`name`: of its file, `NNNN_words`. `description`: a line for people."""

    name: str
    description: str
    pre: Steps = {}
    post: Steps = {}


class Step(msgspec.Struct, frozen=True):
    """What one phase of a migration does to one store. `name`: under which it is recorded, such as `0001_words.pre`."""

    name: str
    description: str
    run: Callable[[Any], Any]


class Applied(msgspec.Struct, frozen=True):
    """A step that was done. `at`: when it ended, as `clock.iso` writes it. `release`: of Dyff, that did it."""

    name: str
    at: str
    release: str


class Store(Protocol):
    """A store with the record of the steps that it went through."""

    @property
    def name(self) -> str:
        """As in `Steps`."""
        ...

    async def applied(self) -> Sequence[Applied]:
        """The steps that were done. Makes nothing, not even the record.

        Raises:
            Unavailable: it does not answer.
        """
        ...

    async def apply(self, step: Step, at: str, release: str) -> None:
        """Do a step, then record it. Killed in the middle, it is done again; done twice at once, no harm is done.

        Raises:
            Unavailable, OutcomeUnknown: it does not answer; run it again.
            Misconfigured: it cannot be done.
        """
        ...

    async def amend(self, *, dry_run: bool = False) -> list[str]:
        """Set right what is not as this release needs it, whatever the record says; a line for people on each such thing."""
        ...


class Fresh:
    """A store that is not there yet, which is only looked at."""

    def __init__(self, name: str) -> None:
        """`name`: as in `Steps`."""
        self.name = name

    async def applied(self) -> Sequence[Applied]:
        return []

    async def apply(self, step: Step, at: str, release: str) -> None:
        raise AssertionError(f"{self.name} is only looked at")

    async def amend(self, *, dry_run: bool = False) -> list[str]:
        return []


class Situation(msgspec.Struct, frozen=True):
    """A store compared with what this release knows.

    `due`: steps to be done, in order. `unknown`: names of steps, of that phase, that only a newer release knows.
    """

    due: Mapping[Phase, tuple[Step, ...]]
    unknown: Mapping[Phase, tuple[str, ...]]


def steps(migrations: Iterable[Migration], store: str, phase: Phase) -> tuple[Step, ...]:
    """What this release knows to do to a store, in order."""
    chosen = [(each, (each.pre if phase == "pre" else each.post).get(store)) for each in migrations]
    return tuple(Step(f"{each.name}.{phase}", each.description, run) for each, run in chosen if run is not None)


def compared(migrations: Sequence[Migration], store: str, applied: Iterable[Applied]) -> Situation:
    """What is due and what is unknown."""
    done = {each.name for each in applied}
    known = {phase: steps(migrations, store, phase) for phase in PHASES}
    names = {step.name for each in known.values() for step in each}
    due = {phase: tuple(step for step in known[phase] if step.name not in done) for phase in PHASES}
    # What is of no phase that we know can only be of a release that has others: it is as strict as can be.
    unknown = sorted(done - names)
    begun = tuple(name for name in unknown if name.endswith(".pre"))
    return Situation(due, {"pre": begun, "post": tuple(name for name in unknown if name not in begun)})


def refusal(store: str, found: Situation) -> errors.DyffError | None:
    """Why this release must not work on the store; None: it may."""
    if found.unknown["post"]:
        return errors.NewerSchema(
            f"{store}: a newer release of Dyff has changed what is stored ({', '.join(found.unknown['post'])}),"
            " and this one does not know how: start that release"
        )
    if found.due["pre"]:
        due = ", ".join(step.name for step in found.due["pre"])
        return errors.OlderSchema(f"{store}: this release needs steps that were not done yet ({due}): run 'dyff migrate pre' first")
    return None
