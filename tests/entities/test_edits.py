"""Edits that only one kind has: what a family's tags become, and how the fold applies them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from dyff.entities import folding, identity, kind, labels, registry
from dyff.entities.folding import Outcome
from dyff.entities.kinds import family
from tests.entities import bodies
from tests.entities.history import create, edit, event, folded, status
from tests.narrowing import sure

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
(MEMBERS,) = family.KIND.edits
ONE, TWO = "1" * 32, "2" * 32
FAMILY: dict[str, Any] = {"id": "f" * 32, "kind": "Family", "account": "acc", "status": "Ready", "memberKind": "Dataset"}


def asked(**members) -> family.FamilyMembersEditRequest:
    return msgspec.json.decode(json.dumps({"members": members}), type=family.FamilyMembersEditRequest)


def member(entity_id=ONE, kind="Dataset", **more):
    return {"entity": {"kind": kind, "id": entity_id}, **more}


def test_a_tag_is_set_as_a_whole_and_null_removes_one():
    """Objects are merged, so what a tag said before is null unless it is said again."""
    attributes = MEMBERS.attributes(asked(v1=member(), v2=member(TWO, description="d"), old=None), FAMILY, {}, NOW)
    common = {"family": FAMILY["id"], "creationTime": "2026-11-30T12:00:00.000000Z"}
    assert attributes == {
        "members": {
            "v1": {"name": "v1", "entity": {"kind": "Dataset", "id": ONE}, "description": None, **common},
            "v2": {"name": "v2", "entity": {"kind": "Dataset", "id": TWO}, "description": "d", **common},
            "old": None,
        }
    }


def test_a_member_must_have_the_kind_of_its_family():
    """The message names the tag and both kinds."""
    with pytest.raises(ValueError, match=r"members\.v1\.entity\.kind must be Dataset, .* it is Model"):
        MEMBERS.attributes(asked(v1=member(kind="Model")), FAMILY, {}, NOW)


@pytest.mark.parametrize(
    ("before", "change", "too_many"),
    [
        (999, {"new": member()}, None),
        (1000, {"t0": member(TWO)}, None),
        (1000, {"t0": None, "new": member()}, None),
        (1200, {"t0": member(TWO), "t1": None}, None),
        (1000, {"new": member()}, 1001),
        (1200, {"new": member()}, 1201),
    ],
)
def test_the_number_of_members_is_bounded(before, change, too_many):
    """What is removed makes room, and a family that has more from before can still be edited."""
    entity = {**FAMILY, "members": {f"t{number}": {"name": f"t{number}"} for number in range(before)}}
    if too_many is None:
        assert MEMBERS.attributes(asked(**change), entity, {}, NOW)["members"].keys() == change.keys()
        return
    with pytest.raises(ValueError, match=f"a family can have at most 1000; this would make {too_many}: remove some"):
        MEMBERS.attributes(asked(**change), entity, {}, NOW)


def test_what_is_set_must_exist_and_what_is_removed_need_not():
    """So a tag of an entity that is gone can be removed."""
    references = MEMBERS.references(asked(v1=member(), old=None), FAMILY)
    assert references == [identity.Reference("Dataset", ONE, ("body", "members", "v1", "entity", "id"))]


def test_an_edit_that_says_nothing_of_references_has_none():
    """Most edits refer to nothing, so their rows need not say it."""
    plain = kind.Edit(
        path="x", summary="x", request=family.FamilyMembersEditRequest, command="EditX", fields=("x",), attributes=MEMBERS.attributes
    )
    assert plain.references(asked(v1=member()), FAMILY) == []


def members(attributes, command_id="members"):
    return edit("EditFamilyMembers", attributes, command_id, kind="Family")


@pytest.mark.parametrize(
    ("version", "of_kind", "attributes", "want"),
    [
        (2, "Family", {"members": {"v2": {"name": "v2"}, "v1": None}}, Outcome.APPLIED),
        (2, "Family", {}, Outcome.INVALID),
        (2, "Family", {"members": {}, "status": "Deleted"}, Outcome.INVALID),
        (2, "Dataset", {"members": {}}, Outcome.INVALID),
        (1, "Family", {"members": {}}, Outcome.UNKNOWN_COMMAND),
    ],
)
def test_the_fold_applies_an_edit_to_its_kind_and_its_fields_only(version, of_kind, attributes, want):
    """From the second version on; whatever else a command says changes nothing."""
    state, _ = folding.fold(None, event(create(kind=of_kind, members={"v1": {"name": "v1"}}), 10), version)
    before = sure(sure(state).entity)
    command = edit("EditFamilyMembers", attributes, kind=of_kind)
    state, outcome = folding.fold(state, event(command, 11), version)
    assert outcome is want
    expected = {**before, "members": {"v2": {"name": "v2"}}} if want is Outcome.APPLIED else before
    assert sure(state).entity == expected


def test_a_deleted_entity_is_not_edited():
    """Like labels and documentation."""
    state, _ = folding.fold(None, event(create(kind="Family"), 10), 2)
    state, _ = folding.fold(state, event(status("Deleted", kind="Family"), 11), 2)
    assert folding.fold(state, event(members({"members": {}}), 12), 2)[1] is Outcome.FINAL


def test_what_the_log_refuses_leaves_the_entity():
    """A state that is too large for a message of the log advances the position, and nothing else; without an entity there is none."""
    state, _ = folded(create())
    after, outcome = folding.refused(state, event(status("Ready"), 11), 2)
    assert outcome is Outcome.TOO_LARGE
    assert (sure(after).entity, sure(after).source.offset, sure(after).event_id) == (sure(state).entity, 11, "status")
    assert folding.refused(None, event(create(), 11), 2) == (None, Outcome.TOO_LARGE)


def test_every_command_of_a_kind_can_be_folded():
    """The registry names each of them once, with the kind that has it."""
    assert registry.EDITS["EditFamilyMembers"] == ("Family", ("members",))
    assert bodies.FAMILY["memberKind"] == FAMILY["memberKind"]


@pytest.mark.parametrize(
    ("labels_", "want"), [({}, "private"), ({"dyff.io/access": "public"}, "public"), ({"dyff.io/access": "x"}, "private")]
)
def test_who_can_see_an_entity_is_its_label(labels_, want):
    """Private without one, and with one that means nothing."""
    assert (labels.access({"labels": labels_}), labels.access({})) == (want, "private")
