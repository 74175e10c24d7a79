"""The schema of stored data: which steps were applied, which are due, and whether this release may use the store. Pure.

A migration has a number and two phases. `pre` runs before the first process of a new release starts: it only adds, so that the
old release keeps working. `post` runs after the last process of the old release is gone: it removes and tightens. What a phase does
to one store is a step, which is recorded in the store that it changes. A release that finds a `pre` step that it does not know
therefore keeps working (an upgrade has begun); one that finds an unknown `post` step must not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, get_args

import msgspec

from dyff.kernel import errors

Phase = Literal["pre", "post"]
PHASES: tuple[Phase, ...] = get_args(Phase)

Steps = Mapping[str, Callable[[Any], Any]]
"""Maps each store to the function that changes it: `bus`, `query:mongodb`, `accounts:mongodb`, `accounts:sqlite`, `cluster:sqlite`.

The argument of the function is documented at that store's `apply`. It must not rely on the changes to another store, and it must be
idempotent: it can run twice, also concurrently, and after a run that was interrupted at any point.
"""


class Migration(msgspec.Struct, frozen=True):
    """`name`: that of its file, `NNNN_words`. `description`: a line for people."""

    name: str
    description: str
    pre: Steps = {}
    post: Steps = {}


class Step(msgspec.Struct, frozen=True):
    """What one phase of a migration does to one store. `name`: the key of its record, such as `0001_words.pre`."""

    name: str
    description: str
    run: Callable[[Any], Any]


class Applied(msgspec.Struct, frozen=True):
    """A step that was applied. `at`: when it ended, as written by `clock.iso`. `release`: the release of Dyff that applied it."""

    name: str
    at: str
    release: str


class Store(Protocol):
    """A store with a record of the steps that were applied to it."""

    @property
    def name(self) -> str:
        """The key in `Steps`."""
        ...

    async def applied(self) -> Sequence[Applied]:
        """The steps that were applied. Creates nothing, not even the record.

        Raises:
            Unavailable: the store does not answer.
        """
        ...

    async def apply(self, step: Step, at: str, release: str) -> None:
        """Run a step, then record it. A step that was interrupted runs again; concurrent runs do no harm.

        Raises:
            Unavailable, OutcomeUnknown: the store does not answer; run it again.
            Misconfigured: the step cannot be applied.
        """
        ...

    async def amend(self, *, dry_run: bool = False) -> list[str]:
        """Correct whatever differs from what this release needs, regardless of the record; returns a line for people for each item."""
        ...


class Fresh:
    """A store that does not exist yet and that is only inspected."""

    def __init__(self, name: str) -> None:
        """`name`: the key in `Steps`."""
        self.name = name

    async def applied(self) -> Sequence[Applied]:
        return []

    async def apply(self, step: Step, at: str, release: str) -> None:
        raise AssertionError(f"{self.name} is only looked at")

    async def amend(self, *, dry_run: bool = False) -> list[str]:
        return []


class Situation(msgspec.Struct, frozen=True):
    """A store compared with what this release knows.

    `due`: the steps to apply, in order. `unknown`: the names of steps of that phase that only a newer release knows.
    """

    due: Mapping[Phase, tuple[Step, ...]]
    unknown: Mapping[Phase, tuple[str, ...]]


def steps(migrations: Iterable[Migration], store: str, phase: Phase) -> tuple[Step, ...]:
    """The steps that this release knows for a store, in order."""
    chosen = [(each, (each.pre if phase == "pre" else each.post).get(store)) for each in migrations]
    return tuple(Step(f"{each.name}.{phase}", each.description, run) for each, run in chosen if run is not None)


def compared(migrations: Sequence[Migration], store: str, applied: Iterable[Applied]) -> Situation:
    """Compare the applied steps with the known ones."""
    done = {each.name for each in applied}
    known = {phase: steps(migrations, store, phase) for phase in PHASES}
    names = {step.name for each in known.values() for step in each}
    due = {phase: tuple(step for step in known[phase] if step.name not in done) for phase in PHASES}
    # A name without a phase that we know can only come from a release with other phases: treat it as strictly as possible.
    unknown = sorted(done - names)
    begun = tuple(name for name in unknown if name.endswith(".pre"))
    return Situation(due, {"pre": begun, "post": tuple(name for name in unknown if name not in begun)})


def refusal(store: str, found: Situation) -> errors.DyffError | None:
    """Why this release must not use the store; None if it may."""
    if found.unknown["post"]:
        return errors.NewerSchema(
            f"{store}: a newer release of Dyff has changed what is stored ({', '.join(found.unknown['post'])}),"
            " and this one does not know how: start that release"
        )
    if found.due["pre"]:
        due = ", ".join(step.name for step in found.due["pre"])
        return errors.OlderSchema(f"{store}: this release needs steps that were not done yet ({due}): run 'dyff migrate pre' first")
    return None
