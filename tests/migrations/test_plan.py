"""What is due, what is unknown, and who may start: pure."""

from __future__ import annotations

import pytest

from dyff.kernel import errors, schema
from tests.narrowing import sure


def nothing(_: object) -> None:
    pass


KNOWN = (
    schema.Migration("0001_first", "makes all", {"bus": nothing, "accounts:sqlite": nothing}),
    schema.Migration("0002_second", "adds", {"bus": nothing}, {"bus": nothing}),
)


def situation(*done: str, store: str = "bus") -> schema.Situation:
    return schema.compared(KNOWN, store, [schema.Applied(name, "2026-01-01T00:00:00Z", "0.1.0") for name in done])


ALL = ("0001_first.pre", "0002_second.pre", "0002_second.post")


@pytest.mark.parametrize(
    ("done", "pre", "post"),
    [
        ((), ["0001_first.pre", "0002_second.pre"], ["0002_second.post"]),
        (ALL[:1], ["0002_second.pre"], ["0002_second.post"]),
        (ALL[:2], [], ["0002_second.post"]),
        (ALL, [], []),
        (ALL[1:], ["0001_first.pre"], []),
    ],
)
def test_what_is_known_and_not_recorded_is_due_in_order(done, pre, post):
    """By phase, in order of the migrations, whatever was done in which order."""
    due = situation(*done).due
    assert ([each.name for each in due["pre"]], [each.name for each in due["post"]]) == (pre, post)


def test_a_store_has_only_its_own_steps():
    """What no migration does to a store is not due there."""
    assert [each.name for each in situation(store="accounts:sqlite").due["pre"]] == ["0001_first.pre"]
    assert situation(store="query:mongodb") == schema.Situation({"pre": (), "post": ()}, {"pre": (), "post": ()})


@pytest.mark.parametrize(
    ("done", "refused"),
    [
        ((), errors.OlderSchema),
        (ALL[:1], errors.OlderSchema),
        (ALL[:2], None),
        (ALL, None),
        ((*ALL, "0003_next.pre"), None),
        ((*ALL, "0003_next.pre", "0003_next.post"), errors.NewerSchema),
        ((*ALL[:1], "0003_next.post"), errors.NewerSchema),
        ((*ALL, "0003_next.between"), errors.NewerSchema),
    ],
    ids=["fresh", "pre is due", "post is due", "all done", "an upgrade has begun", "an upgrade is done", "both", "another phase"],
)
def test_who_may_work_on_a_store(done, refused):
    """Who lacks a `pre` may not, nor who meets a `post` of a newer release; during an upgrade the old release may go on."""
    found = schema.refusal("bus", situation(*done))
    assert type(found) is (refused or type(None))


def test_a_refusal_says_what_to_run():
    """It names the store, the step and the command; or the step that only a newer release knows."""
    older = schema.refusal("bus", situation(*ALL[:1]))
    assert "bus" in sure(older).message
    assert "0002_second.pre" in sure(older).message
    assert "dyff migrate pre" in sure(older).message
    newer = schema.refusal("bus", situation(*ALL, "0003_next.post"))
    assert "0003_next.post" in sure(newer).message
    assert "newer release" in sure(newer).message
