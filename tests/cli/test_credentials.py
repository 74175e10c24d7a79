"""The file of `dyff login`: who can read it, how it is replaced, and what is no such file."""

from __future__ import annotations

import json
import os
import re
import stat

import pytest

from dyff.cli import credentials
from dyff.cli.credentials import Credentials

ONE = Credentials("http://a/v0", {"http://a/v0": "t1", "http://b/v0": "t2"})


@pytest.fixture
def file(tmp_path):
    return tmp_path / "config/dyff/credentials.json"


def test_what_was_written_is_read(file):
    """Only the owner can read the file and its folder, whatever the mask is; nothing else is left in it."""
    old = os.umask(0)
    try:
        credentials.write(file, ONE)
        credentials.write(file, ONE)
    finally:
        os.umask(old)
    assert credentials.read(file) == ONE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]
    assert "t1" not in repr(ONE)


def test_no_file_is_no_credentials(file):
    """As before the first login."""
    assert credentials.read(file) == Credentials()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o777])
def test_a_file_of_others_is_refused(file, mode):
    """The message has the command that fixes it."""
    credentials.write(file, ONE)
    file.chmod(mode)
    with pytest.raises(credentials.Wrong, match=re.escape(f"chmod 600 {file}")):
        credentials.read(file)


WRONG = {
    "no JSON": "{", "a list": "[]", "no version": "{}", "another version": '{"version": 2, "servers": {}}',
    "no tokens": '{"version": 1, "servers": {"http://a": 1}}', "deep": "[" * 100_000, "too large": " " * (credentials.MAX_BYTES + 1),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_is_no_such_file(file, text):
    """It is named, and nothing of its content is shown."""
    credentials.write(file, ONE)
    file.write_text(text)
    with pytest.raises(credentials.Wrong, match=re.escape(str(file))):
        credentials.read(file)


def test_a_write_that_fails_leaves_the_file_as_it_was(file, monkeypatch):
    """And no other file next to it."""
    credentials.write(file, ONE)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        credentials.write(file, Credentials("http://c/v0", {"http://c/v0": "t3"}))
    assert credentials.read(file) == ONE
    assert list(file.parent.iterdir()) == [file]


def test_a_link_stays_a_link(file, tmp_path):
    """People keep their settings in another folder."""
    target = tmp_path / "dotfiles/credentials.json"
    credentials.write(target, Credentials())
    file.parent.mkdir(parents=True)
    file.symlink_to(target)
    credentials.write(file, ONE)
    assert file.is_symlink()
    assert credentials.read(target) == ONE


def test_a_server_without_a_token_is_not_in_use(file):
    """Also if someone has edited the file."""
    credentials.write(file, Credentials("http://a/v0", {}))
    assert json.loads(file.read_text())["current"] == "http://a/v0"
    assert credentials.read(file).current is None


def test_the_place_is_that_of_the_system(monkeypatch, tmp_path):
    """Below XDG_CONFIG_HOME where it is set, otherwise below the home directory."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert credentials.place() == tmp_path / "dyff/credentials.json"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert credentials.place() == tmp_path / "home/.config/dyff/credentials.json"
