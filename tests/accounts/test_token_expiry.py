"""What a token says, and how a wrong one is reported."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dyff.accounts import tokens
from dyff.kernel import errors

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SECRET = b"x" * 64


@pytest.mark.parametrize(
    ("subject", "fix"), [("Account/a1", "'dyff token create'"), ("InferenceSession/s1", "ask for a new one with an account's token")]
)
def test_an_expired_token_is_answered_with_whose_it_was_and_how_to_get_another(subject, fix):
    """A session's token is not made with the command that makes an account's."""
    token = tokens.sign(tokens.Claims("t1", subject, NOW - timedelta(hours=1), NOW), SECRET)
    with pytest.raises(errors.Unauthenticated) as refused:
        tokens.verify(token, SECRET, NOW)
    assert f"of {subject} has expired" in refused.value.message
    assert fix in refused.value.message
    assert token not in refused.value.message
