"""Tokens: what is signed is what is read, and nothing else is believed."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from dyff.accounts import tokens
from dyff.accounts.grants import Grant
from dyff.kernel import errors

SECRET = b"s" * 64
NOW = datetime(2026, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)
GRANTS = (Grant(("datasets",), ("get",), ("a",)), Grant(("*",), ("*",), (), ("e",)))
CLAIMS = tokens.Claims("k1", "Account/a1", NOW.replace(microsecond=0), NOW.replace(microsecond=0) + timedelta(hours=1), GRANTS, "hush")
PAYLOAD = {"jti": "k", "sub": "Account/a", "iat": NOW.timestamp() // 1, "nbf": NOW.timestamp() // 1, "exp": NOW.timestamp() // 1 + 60}


def encoded(payload, secret=SECRET, algorithm="HS256") -> str:
    return jwt.encode(payload, secret, algorithm=algorithm)


@pytest.mark.parametrize("secret", ["hush", None])
def test_what_is_signed_is_what_is_read(secret):
    """All claims come back, with or without a secret."""
    claims = tokens.Claims(CLAIMS.id, CLAIMS.subject, CLAIMS.issued, CLAIMS.expires, GRANTS, secret)
    assert tokens.verify(tokens.sign(claims, SECRET), SECRET, NOW) == claims


def test_the_claims_are_the_published_ones():
    """jti, sub, iat, nbf, exp in whole seconds, the grants as objects with all four lists, and the secret."""
    payload = jwt.decode(tokens.sign(CLAIMS, SECRET), SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_nbf": False})
    start = int(NOW.timestamp())
    assert payload == {
        "jti": "k1", "sub": "Account/a1", "iat": start, "nbf": start, "exp": start + 3600, "secret": "hush",
        "grants": [
            {"resources": ["datasets"], "functions": ["get"], "accounts": ["a"], "entities": []},
            {"resources": ["*"], "functions": ["*"], "accounts": [], "entities": ["e"]},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("subject", "account"), [("Account/a1", "a1"), ("InferenceSession/s1", None), ("Account", ""), ("a1", None), ("account/a1", None)]
)
def test_only_an_account_subject_is_an_account(subject, account):
    """Any other subject, such as a session, is none."""
    assert tokens.Claims("k", subject, NOW, NOW).account == account


@pytest.mark.parametrize("moment", [NOW, CLAIMS.issued, CLAIMS.expires - timedelta(microseconds=1)])
def test_a_token_is_valid_until_it_expires(moment):
    """From the second it was issued in until just before its expiry."""
    assert tokens.verify(tokens.sign(CLAIMS, SECRET), SECRET, moment).id == "k1"


@pytest.mark.parametrize(
    ("moment", "message"),
    [(CLAIMS.expires, "expired"), (NOW + timedelta(days=1), "expired"), (CLAIMS.issued - timedelta(seconds=1), "not valid yet")],
)
def test_a_token_is_refused_outside_its_time(moment, message):
    """The expiry itself is too late; the message says which it is."""
    with pytest.raises(errors.Unauthenticated, match=message):
        tokens.verify(tokens.sign(CLAIMS, SECRET), SECRET, moment)


def unsigned() -> str:
    parts = [{"alg": "none", "typ": "JWT"}, PAYLOAD]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "ü.ü.ü",
        "." * 1000,
        unsigned(),
        encoded(PAYLOAD, b"another secret of sufficient length!"),
        encoded(PAYLOAD, b"s" * 64, "HS512"),
        encoded(PAYLOAD)[:-6],
        *(encoded({name: value for name, value in PAYLOAD.items() if name != missing}) for missing in PAYLOAD),
        encoded({**PAYLOAD, "exp": "soon"}),
        encoded({**PAYLOAD, "exp": 10**30}),
        encoded({**PAYLOAD, "nbf": None}),
        encoded({**PAYLOAD, "jti": None}),
        encoded({**PAYLOAD, "grants": "*"}),
        encoded({**PAYLOAD, "grants": [{"resources": ["*"]}]}),
        encoded({**PAYLOAD, "grants": [{"resources": "*", "functions": "*", "accounts": "*"}]}),
        encoded({**PAYLOAD, "secret": 5}),
        encoded({**PAYLOAD, "aud": "someone else"}),
    ],
)
def test_anything_else_is_refused_and_not_repeated(token):
    """Forged, cut, unsigned, incomplete or malformed: 401, and the token is not in the message."""
    with pytest.raises(errors.Unauthenticated) as caught:
        tokens.verify(token, SECRET, NOW)
    assert len(token) < 10 or token not in str(caught.value)


def test_unknown_claims_and_grant_fields_are_ignored():
    """A newer release may say more."""
    grant = {"resources": ["r"], "functions": ["get"], "accounts": ["a"], "new": 1}
    read = tokens.verify(encoded({**PAYLOAD, "grants": [grant], "permissionsVersion": "7"}), SECRET, NOW)
    assert read.grants == (Grant(("r",), ("get",), ("a",)),)


@pytest.mark.parametrize("ahead_s", [1, 30])
def test_a_token_from_a_clock_that_is_a_little_ahead_is_valid(ahead_s):
    """Up to the leeway, the issuer's clock may be ahead of ours."""
    now = CLAIMS.issued - timedelta(seconds=ahead_s)
    assert tokens.verify(tokens.sign(CLAIMS, SECRET), SECRET, now, leeway_s=30).id == "k1"


def test_a_token_from_a_clock_that_is_far_ahead_is_refused():
    """Beyond the leeway the message says by how much the clocks differ, and names the setting."""
    with pytest.raises(
        errors.Unauthenticated, match=r"3[23] s ahead of this server's, and 30 s are allowed \(setting api.clock_leeway_s\)"
    ):
        tokens.verify(tokens.sign(CLAIMS, SECRET), SECRET, CLAIMS.issued - timedelta(seconds=33), leeway_s=30)


@pytest.mark.parametrize("late_s", [0, 1, 29])
def test_the_leeway_does_not_prolong_a_token(late_s):
    """At its expiry a token is refused, whatever the leeway is."""
    with pytest.raises(errors.Unauthenticated, match="expired"):
        tokens.verify(tokens.sign(CLAIMS, SECRET), SECRET, CLAIMS.expires + timedelta(seconds=late_s), leeway_s=30)


SECOND = int(NOW.timestamp())
NO_INSTANTS: list[Any] = [
    "1",
    str(SECOND),
    "soon",
    "",
    None,
    True,
    False,
    [],
    [SECOND],
    {},
    1e308,
    -1e308,
    10**30,
    -(10**18),
    253_402_300_800,
]
NO_INSTANTS += [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("value", NO_INSTANTS)
@pytest.mark.parametrize("name", ["nbf", "iat", "exp"])
def test_times_are_numbers_of_seconds(name, value):
    """A text, a truth value, a number that is no date, or nothing: the token is malformed, whichever of its times it is."""
    with pytest.raises(errors.Unauthenticated, match="malformed"):
        tokens.verify(encoded({**PAYLOAD, name: value}), SECRET, NOW, leeway_s=30)


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize(
    ("ahead_s", "valid"), [(-(10**9), True), (-0.5, True), (0, True), (30, True), (30.5, True), (31, False), (31.25, False), (10**9, False)]
)
def test_no_time_of_the_issuer_is_ahead_by_more_than_the_leeway(name, ahead_s, valid):
    """Whole seconds and parts of them. Our own second counts as a whole, since issuers cut the parts off."""
    token = encoded({**PAYLOAD, name: SECOND + ahead_s})
    if valid:
        assert tokens.verify(token, SECRET, NOW, leeway_s=30).id == "k"
        return
    with pytest.raises(errors.Unauthenticated, match=r"ahead of this server's, and 30 s are allowed"):
        tokens.verify(token, SECRET, NOW, leeway_s=30)


@pytest.mark.parametrize(("late_s", "valid"), [(-0.001, True), (0, False), (0.001, False)])
@pytest.mark.parametrize("expires", [SECOND + 10, SECOND + 10.5])
def test_a_token_expires_at_its_instant(expires, late_s, valid):
    """Not before it, and not after it, also if it is within a second."""
    token, now = encoded({**PAYLOAD, "exp": expires}), datetime.fromtimestamp(expires, UTC) + timedelta(seconds=late_s)
    if valid:
        assert tokens.verify(token, SECRET, now, leeway_s=30).expires.timestamp() == expires
        return
    with pytest.raises(errors.Unauthenticated, match="expired"):
        tokens.verify(token, SECRET, now, leeway_s=30)


def test_a_time_before_1970_is_one():
    """A clock that was never set begins there; such a token is valid until it expires."""
    assert tokens.verify(encoded({**PAYLOAD, "nbf": -1, "iat": -0.5}), SECRET, NOW).id == "k"
    with pytest.raises(errors.Unauthenticated, match="expired"):
        tokens.verify(encoded({**PAYLOAD, "exp": -1}), SECRET, NOW)
