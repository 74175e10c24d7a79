"""What needs no server: which files an upload has, and what a token says."""

from __future__ import annotations

import dyff.client
import pytest

from dyff.sdk import Client


@pytest.fixture
def tree(tmp_path):
    for name in ("a.bin", "README.md", "docs/x.md", "docs/y.bin", "build/z.bin", ".git/config", "deep/build/w.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link.bin").symlink_to("a.bin")
    return tmp_path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"include_symlinks": True},
        {"include": ["*.bin"]},
        {"exclude": ["*.md"]},
        {"exclude": ["build/"]},
        {"exclude": ["/build/"]},
        {"include": ["docs/**"], "exclude": ["*.md"]},
        {"include": ["*.bin", "!docs/y.bin"]},
        {"include": ["nothing"]},
        {"include": [], "exclude": []},
    ],
    ids=str,
)
def test_an_upload_has_the_files_that_the_published_client_takes(tree, options):
    """The same choice by the same patterns, and in order."""
    found = Client(api_token="t").volumes.list(tree, **options)
    assert found == sorted(dyff.client.Client(api_token="t").volumes.list(tree, **options))


def test_a_token_shows_what_it_says(kind):
    """Its header and its claims, and no secret; what is not a token is reported."""
    import jwt

    client = kind(api_token="t")
    token = jwt.encode({"sub": "Account/me"}, "a secret of thirty-two bytes or so", algorithm="HS256")
    assert client.tokens.inspect(token) == ({"alg": "HS256", "typ": "JWT"}, {"sub": "Account/me"})
    with pytest.raises(ValueError, match="not a token"):
        client.tokens.inspect("t")
