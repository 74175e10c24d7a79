"""What a token allows, by tables."""

from __future__ import annotations

import itertools

import pytest

from dyff.accounts import grants
from dyff.accounts.grants import ADMIN, Grant

OWN = Grant(("datasets", "evaluations"), ("create", "get", "query"), ("a",))
SESSION = Grant(("inferencesessions",), ("get", "consume", "terminate"), (), ("s",))
PUBLIC = Grant(("*",), ("get", "query", "consume"), ("public",))
EMPTY = Grant(("*",), ("*",))


@pytest.mark.parametrize(
    ("held", "resource", "function", "account", "entity", "allowed"),
    [
        ([OWN], "datasets", "get", "a", "x", True),
        ([OWN], "datasets", "get", "b", "x", False),
        ([OWN], "datasets", "delete", "a", "x", False),
        ([OWN], "models", "get", "a", "x", False),
        ([OWN], "datasets", "create", "a", None, True),
        ([OWN], "datasets", "get", None, "x", False),
        ([SESSION], "inferencesessions", "consume", "b", "s", True),
        ([SESSION], "inferencesessions", "consume", "b", "t", False),
        ([SESSION], "inferencesessions", "get", None, None, False),
        ([OWN, PUBLIC], "models", "consume", "public", "x", True),
        ([OWN, PUBLIC], "models", "delete", "public", "x", False),
        ([Grant(("datasets",), ("get",), ("a",)), Grant(("models",), ("delete",), ("a",))], "datasets", "delete", "a", "x", False),
        ([Grant(("datasets",), ("get",), ("a",), ("e",))], "datasets", "get", "b", "e", True),
        ([Grant(("datasets",), ("get",), ("a",), ("e",))], "datasets", "get", "a", "f", True),
        ([EMPTY], "datasets", "get", "a", "x", False),
        ([Grant(("*",), ("*",), ("*",))], "datasets", "delete", "anyone", "x", True),
        ([Grant(("*",), ("*",), (), ("*",))], "datasets", "delete", "anyone", "x", True),
        ([Grant((), ("*",), ("*",))], "datasets", "get", "a", "x", False),
        (list(ADMIN), "accounts", "create", None, None, True),
        ([], "datasets", "get", "a", "x", False),
    ],
)
def test_grants_are_additive_and_need_resource_function_and_place(held, resource, function, account, entity, allowed):
    """One grant must cover resource, function and (account or entity); grants do not complete each other."""
    assert grants.allows(held, resource, function, account=account, entity=entity) is allowed


@pytest.mark.parametrize(
    ("held", "allowed"),
    [
        ([SESSION], True),
        ([Grant(("*",), ("*",), (), ("s",))], True),
        ([Grant(("inferencesessions",), ("get",), (), ("s",))], False),
        ([Grant(("inferencesessions",), ("consume",), ("a",))], False),
        ([Grant(("inferencesessions",), ("consume",), ("*",))], False),
        (list(ADMIN), False),
    ],
)
def test_running_inference_needs_a_grant_for_that_very_session(held, allowed):
    """Accounts and wildcards do not name an entity: so users take the session's token."""
    assert grants.allows_entity(held, "inferencesessions", "consume", "s") is allowed


@pytest.mark.parametrize(
    ("held", "resource", "function", "allowed"),
    [
        ([OWN], "datasets", "create", True),
        ([SESSION], "inferencesessions", "terminate", True),
        ([PUBLIC, OWN], "evaluations", "create", True),
        (list(ADMIN), "accounts", "delete", True),
        ([OWN], "datasets", "delete", False),
        ([OWN], "models", "create", False),
        ([Grant(("datasets",), ("get",), ("a",)), Grant(("models",), ("delete",), ("a",))], "datasets", "delete", False),
        ([EMPTY], "datasets", "get", False),
        ([], "datasets", "get", False),
    ],
)
def test_something_is_allowed_if_one_grant_names_any_place_for_it(held, resource, function, allowed):
    """Before an object is known: one grant must have resource and function, and an account or an entity."""
    assert grants.allows_some(held, resource, function) is allowed


@pytest.mark.parametrize(
    ("held", "resource", "scope"),
    [
        ([], "datasets", grants.Scope(False)),
        ([OWN], "datasets", grants.Scope(False, ("a",))),
        ([OWN], "models", grants.Scope(False)),
        ([OWN, PUBLIC, SESSION], "evaluations", grants.Scope(False, ("a", "public"))),
        ([OWN, Grant(("datasets",), ("query",), ("b",), ("e", "f"))], "datasets", grants.Scope(False, ("a", "b"), ("e", "f"))),
        ([Grant(("datasets",), ("get",), ("a",))], "datasets", grants.Scope(False)),
        ([OWN, Grant(("datasets",), ("query",), (), ("*",))], "datasets", grants.Scope(True, ("a",), ("*",))),
        (list(ADMIN), "datasets", grants.Scope(True, ("*",), ("*",))),
        ([EMPTY], "datasets", grants.Scope(False)),
    ],
)
def test_a_query_sees_the_union_of_its_grants(held, resource, scope):
    """Accounts and entities of all grants for (resource, query); any wildcard removes the filter."""
    assert grants.scope(held, resource) == scope


@pytest.mark.parametrize(
    ("wanted", "have", "covered"),
    [
        (OWN, ADMIN, True),
        (OWN, (OWN,), True),
        (Grant(("datasets",), ("get",), ("a",)), (OWN,), True),
        (Grant(("datasets",), ("*",), ("a",)), (OWN,), False),
        (Grant(("*",), ("get",), ("a",)), (OWN,), False),
        (Grant(("datasets",), ("get",), ("b",)), (OWN,), False),
        (Grant(("datasets",), ("get",), ("*",)), (OWN,), False),
        (Grant(("datasets",), ("get",), ("a",), ("e",)), (OWN,), False),
        (Grant(("datasets",), ("get",), (), ("e",)), (OWN,), False),
        (Grant(("datasets",), ("get",), ("a", "b")), (OWN, Grant(("datasets",), ("get",), ("b",))), False),
        (ADMIN[0], (OWN,), False),
        (ADMIN[0], ADMIN, True),
        (OWN, (), False),
    ],
)
def test_a_grant_is_covered_by_one_permission_that_has_all_of_it(wanted, have, covered):
    """All four sets must be contained; a wildcard is contained in a wildcard only, and an account does not cover an entity."""
    assert grants.is_covered(wanted, have) is covered


@pytest.mark.parametrize(
    ("held", "permissions", "left"),
    [
        ((OWN,), ADMIN, (OWN,)),
        ((OWN,), (OWN, *ADMIN), (OWN,)),
        (ADMIN, (OWN,), (OWN,)),
        (ADMIN, (OWN, SESSION), (OWN, SESSION)),
        ((OWN,), (), ()),
        ((OWN,), (Grant(("datasets",), ("*",), ("a",)),), (Grant(("datasets",), ("create", "get", "query"), ("a",)),)),
        ((OWN,), (Grant(("models",), ("*",), ("a",)),), ()),
        ((OWN,), (Grant(("*",), ("*",), ("b",)),), ()),
        ((OWN,), (Grant(("*",), ("*",), (), ("a",)),), ()),
        ((OWN, OWN), (OWN,), (OWN,)),
    ],
)
def test_permissions_narrow_grants(held, permissions, left):
    """What is covered stays whole; of the rest only what both have in common."""
    assert grants.narrowed(held, permissions) == left


OWNED = {"e": "a", "f": "a", "g": "b"}


@pytest.mark.parametrize(
    ("wanted", "have", "covered"),
    [
        (Grant(("datasets",), ("get",), (), ("e",)), (OWN,), True),
        (Grant(("datasets",), ("get",), (), ("e", "f")), (OWN,), True),
        (Grant(("datasets",), ("get",), ("a",), ("e",)), (OWN,), True),
        (Grant(("datasets",), ("get",), (), ("e", "g")), (OWN,), False),
        (Grant(("datasets",), ("get",), (), ("g",)), (OWN,), False),
        (Grant(("datasets",), ("get",), (), ("h",)), (OWN,), False),
        (Grant(("datasets",), ("get",), (), ("*",)), (OWN,), False),
        (Grant(("datasets",), ("delete",), (), ("e",)), (OWN,), False),
        (Grant(("models",), ("get",), (), ("e",)), (OWN,), False),
        (Grant(("datasets",), ("get",), (), ("g",)), (Grant(("*",), ("*",), ("*",)),), True),
        (Grant(("datasets",), ("get",), (), ("h",)), (Grant(("*",), ("*",), ("*",)),), False),
        (Grant(("datasets",), ("get",), (), ("e", "g")), (Grant(("*",), ("*",), ("a",), ("g",)),), True),
    ],
)
def test_an_account_covers_the_entities_that_are_known_to_be_its_own(wanted, have, covered):
    """With their owners known; an entity of nobody or of somebody else is not covered, nor is more than the permission has."""
    assert grants.is_covered(wanted, have, OWNED) is covered
    assert (grants.narrowed((wanted,), have, OWNED) == (wanted,)) is covered


@pytest.mark.parametrize(
    ("held", "permissions", "left"),
    [
        (Grant(("datasets",), ("get",), (), ("e", "g")), (OWN,), (Grant(("datasets",), ("get",), (), ("e",)),)),
        (Grant(("datasets",), ("get",), (), ("g",)), (OWN,), ()),
        (Grant(("datasets",), ("get", "delete"), (), ("e",)), (OWN,), (Grant(("datasets",), ("get",), (), ("e",)),)),
        (Grant(("*",), ("*",), (), ("*",)), (OWN,), ()),
    ],
)
def test_permissions_narrow_entities_to_the_accounts_own(held, permissions, left):
    """What is left of a grant on entities is those whose owner the permission names."""
    assert grants.narrowed((held,), permissions, OWNED) == left


def test_narrowing_never_allows_more():
    """Whatever the sets, a narrowed grant allows only what both the grants and the permissions allow."""
    sets = [(), ("x",), ("x", "y"), ("*",)]
    places = list(itertools.product(sets, sets))
    functions = [("get",), ("get", "query"), ("*",)]
    made = [Grant(("r",), function, *place) for function, place in itertools.product(functions, places)]
    things = list(itertools.product(("x", "y", None), ("x", "y", None)))
    owned = [(owner, entity) for owner, entity in things if entity is None or owner == {"x": "y", "y": "x"}[entity]]
    known = [({}, things), ({"x": "y", "y": "x"}, owned)]
    for held, permission, (owners, asked) in itertools.product(made, made, known):
        left = grants.narrowed((held,), (permission,), owners)
        for function, (account, entity) in itertools.product(("get", "query", "delete"), asked):
            if grants.allows(left, "r", function, account=account, entity=entity):
                assert grants.allows((held,), "r", function, account=account, entity=entity)
                assert grants.allows((permission,), "r", function, account=account, entity=entity)
