"""Who can read a data directory: its owner only, by whatever means it was created."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from dyff.kernel import errors
from dyff.serve import directory
from tests.serving.furnished import furnish


@pytest.fixture
def place(tmp_path):
    """A data directory as `mkdir` and a careless copy leave it: everyone can read everything."""
    root = tmp_path / "data"
    (root / "objects/objects/datasets").mkdir(parents=True)
    (root / "pods").mkdir()
    for name in ("bus.sqlite", "bus.sqlite-wal", "bus.sqlite.mark", "query.sqlite", "accounts.sqlite", "cluster.sqlite", "server.lock"):
        (root / name).write_bytes(b"")
        (root / name).chmod(0o644)
    for path in (root, root / "objects", root / "pods"):
        path.chmod(0o755)
    return directory.DataDirectory(root)


def modes(root):
    return {entry.name: entry.stat().st_mode & 0o777 for entry in os.scandir(root)}


def test_a_directory_of_someone_else_is_restricted(place):
    """Its top folders are 0700 and its files 0600, before anything in it is used."""
    with place.claimed():
        assert place.root.stat().st_mode & 0o777 == 0o700
        found = modes(place.root)
        assert {name for name, mode in found.items() if mode == 0o700} == {"objects", "pods"}
        assert set(found.values()) == {0o700, 0o600}


def test_a_lock_that_cannot_be_opened_is_a_sentence(place):
    """As on a disk that has become read-only: the error names the directory and the fix."""
    (place.root / "server.lock").unlink()
    (place.root / "server.lock").mkdir()
    with (
        pytest.raises(errors.Misconfigured, match=r"data cannot be used: Is a directory \(server.lock\); make it writable"),
        place.claimed(),
    ):
        pytest.fail("it was claimed")


def test_a_link_is_left_alone(place, tmp_path):
    """What a person put elsewhere by a link can be for others, too."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o755)
    (place.root / "archive").symlink_to(elsewhere)
    place.create()
    assert elsewhere.stat().st_mode & 0o777 == 0o755


def test_what_is_not_ours_is_refused_with_the_command(place, monkeypatch):
    """A server that cannot restrict its data does not start."""

    def refuse(self, mode):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.chmod", refuse)
    with pytest.raises(errors.Misconfigured, match=rf"mode 755.*sudo chown -R \d+ {place.root} && chmod -R go= {place.root}"):
        place.create()


def test_what_a_command_creates_is_private(tmp_path):
    """Under whatever umask it is started: the folders on the way to the data, and every file that a command makes there."""
    root = tmp_path / "on/the/way"

    def run(*arguments):
        command = [sys.executable, "-c", "from dyff.serve.cli import main; main()", *arguments, "--data-dir", str(root)]
        return subprocess.run(command, umask=0o000, capture_output=True, check=False).returncode

    with socket.socket() as taken:  # the server ends right after it has made the directory
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert run("serve", "--port", str(taken.getsockname()[1])) == 2
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "on", tmp_path / "on/the", root)} == {0o700}
    furnish(root)
    assert run("account", "create", "--name", "me") == 0
    found = modes(root)
    assert found.pop("audit") == 0o700
    assert {mode for name, mode in found.items() if (root / name).is_file()} == {0o600}


def test_what_a_command_reports_is_not_in_its_output(tmp_path):
    """Programs read standard output; what was restricted is reported on standard error."""
    run = partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True, check=True)
    dyff = str(Path(sys.executable).with_name("dyff"))
    furnish(tmp_path / "data")
    run([dyff, "account", "create", "--name", "a", "--data-dir", "data"])
    (tmp_path / "data" / "accounts.sqlite").chmod(0o644)
    listed = run([dyff, "account", "list", "--data-dir", "data"])
    assert json.loads(listed.stdout)["name"] == "a"
    assert "access-restricted" in listed.stderr
