"""Fetching models: what is stored, what is refused, and how little is lost when an attempt is cut off."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from dyff.objects import manifests
from tests.engines.ports import free_port
from tests.workflows import hub as hubs
from tests.workflows import runs
from tests.workflows.fetching import CONFIG, PART, REPO, VOLUME, WEIGHTS, hub_source


@pytest.fixture
def hub():
    with hubs.a_hub() as running:
        running.repos[REPO] = {"config.json": CONFIG, "sub/model.safetensors": WEIGHTS, "copy.json": CONFIG}
        yield running


@pytest.fixture
def from_hub(fetch, hub):
    fetch.environment["HF_ENDPOINT"] = hub.url
    return fetch


@pytest.mark.parametrize("revision", ["main", hubs.COMMIT])
def test_the_hubs_own_library_finds_the_model_without_a_network(from_hub, hub, steps, tmp_path, revision):
    """The mounted tree is a cache of the Hugging Face libraries: offline they find every file at the revision that was declared."""
    artifact = {"kind": "HuggingFaceCache", "huggingFaceCache": {"repoID": REPO, "revision": revision}}
    done = from_hub.hub(revision, artifact=artifact)
    assert done.code == 0, done
    mount = from_hub.mounted(steps, tmp_path / "mount")
    asked = f"import huggingface_hub as h; print(h.snapshot_download({REPO!r}, revision={revision!r}))"
    environment = {"PATH": os.environ["PATH"], "HF_HOME": str(mount), "HUGGINGFACE_HUB_CACHE": str(mount), "TRANSFORMERS_OFFLINE": "1"}
    found = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert found == str(mount / "models--org--tiny" / "snapshots" / hubs.COMMIT)
    for snapshot in (Path(found), mount / "models--org--tiny" / "snapshots" / revision):
        assert (snapshot / "config.json").read_bytes() == CONFIG
        assert (snapshot / "sub" / "model.safetensors").read_bytes() == WEIGHTS


def test_what_was_fetched_is_recorded(from_hub, hub):
    """The manifest names the commit and, for each file, size and digests; the links are recorded as published."""
    assert from_hub.hub().code == 0
    manifest = from_hub.manifest()
    assert manifest["source"] == {"kind": "HuggingFaceHub", "commit": hubs.COMMIT}
    blob = next(each for each in manifest["artifacts"] if each["path"].endswith(hubs.sha256(WEIGHTS)))
    assert blob["path"] == f"models--org--tiny/blobs/{hubs.sha256(WEIGHTS)}"
    assert (blob["size"], blob["digest"]) == (len(WEIGHTS), {"md5": runs.md5(WEIGHTS), "sha256": hubs.sha256(WEIGHTS)})
    links = msgspec.json.decode((from_hub.root / ".dyff" / "symlinks.json").read_bytes())["symlinks"]
    assert links == manifest["symlinks"]
    wanted = {
        "link": f"models--org--tiny/snapshots/{hubs.COMMIT}/sub/model.safetensors",
        "target": f"../../../blobs/{hubs.sha256(WEIGHTS)}",
        "target_is_directory": False,
    }
    assert wanted in links


def test_the_same_bytes_are_fetched_once(from_hub, hub):
    """Two files of the same content are one object."""
    assert from_hub.hub().code == 0
    assert from_hub.blobs() == sorted([hubs.git_sha1(CONFIG), hubs.sha256(WEIGHTS)])
    assert len(hub.asked) == 2


def test_patterns_choose_files(from_hub, hub):
    """`allowPatterns` and `ignorePatterns` mean what they mean to the hub's library."""
    assert from_hub.hub(allow=["*.json"], ignore=["copy*"]).code == 0
    assert [name for name, _ in hub.asked] == ["config.json"]


def test_a_hub_that_reports_no_sizes(from_hub, hub):
    """Where the list says too little each file is asked for itself, by the headers that every hub has."""
    hub.reports_sizes = False
    assert from_hub.hub().code == 0
    assert from_hub.blobs() == sorted([hubs.git_sha1(CONFIG), hubs.sha256(WEIGHTS)])


def test_a_volume_has_the_files_under_their_names(from_hub, hub, steps, tmp_path):
    """With the artifact kind Volume there is no cache, only files."""
    assert from_hub.hub(artifact=VOLUME).code == 0
    mount = from_hub.mounted(steps, tmp_path / "mount")
    found = {str(file.relative_to(mount)): file.read_bytes() for file in mount.rglob("*") if file.is_file()}
    assert found == hub.repos[REPO]


def test_an_attempt_that_was_killed_loses_at_most_a_part(from_hub, hub):
    """After SIGKILL in the middle of a file the next attempt asks for the rest only, and of other files for nothing."""
    large = random.Random(8).randbytes(PART + 9_000_000)
    hub.repos[REPO] = {"config.json": CONFIG, "large.safetensors": large}
    hub.close_tap(PART + 2**20)
    process = from_hub.start(hub_source())
    runs.wait_for(lambda: hub.stalled.is_set() and any(file.is_file() for file in from_hub.parts()) and from_hub.blobs())
    process.kill()
    process.communicate()
    hub.open_tap()
    hub.asked.clear()
    done = from_hub.hub()
    assert done.code == 0, done
    [(name, asked)] = hub.asked
    assert name == "large.safetensors"
    assert PART <= int(asked.removeprefix("bytes=").rstrip("-")) <= PART + 2**20
    blob = from_hub.root / ".dyff" / "blobs" / hubs.sha256(large)
    assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert not [file for file in from_hub.parts() if file.is_file()]


def test_an_attempt_that_is_asked_to_stop_loses_nothing(from_hub, hub):
    """On SIGTERM it ends at once, with the code of a stop, and what has arrived is stored."""
    hub.close_tap(100_000)
    process = from_hub.start(hub_source(allow=["*.safetensors"]))
    assert hub.stalled.wait(30)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 143, output
    hub.open_tap()
    hub.asked.clear()
    assert from_hub.hub(allow=["*.safetensors"]).code == 0
    [(_, asked)] = hub.asked
    assert int(asked.removeprefix("bytes=").rstrip("-")) > 0


def test_a_connection_that_breaks_is_gone_on_with(from_hub, hub):
    """Within one attempt, too, a broken transfer goes on where it was."""
    hub.breaks = [50_000]
    done = from_hub.hub(allow=["*.safetensors"])
    assert done.code == 0, done
    assert [asked for _, asked in hub.asked] == [None, "bytes=50000-"]


def test_a_server_that_ignores_ranges(from_hub, hub):
    """Where the whole file comes again, what exists is passed over."""
    hub.breaks, hub.ignores_ranges = [50_000], True
    done = from_hub.hub(allow=["*.safetensors"])
    assert done.code == 0, done
    assert [asked for _, asked in hub.asked] == [None, "bytes=50000-"]


@pytest.mark.parametrize("trouble", [429, 503])
def test_a_server_that_is_busy_is_asked_again(from_hub, hub, trouble):
    """What may pass is tried again within the attempt."""
    hub.troubles = [trouble]
    assert from_hub.hub(allow=["*.safetensors"]).code == 0


def test_a_file_that_is_refused_for_good(from_hub, hub):
    """What will not pass ends the fetch, and names the file and the answer."""
    hub.troubles = [403]
    done = from_hub.hub(allow=["*.safetensors"])
    assert (done.code, "model.safetensors" in done.last, "answers 403" in done.last) == (65, True, True), done


def test_what_is_no_hub(fetch):
    """A server that speaks something else is reported as such, with the setting to fix."""
    with hubs.a_hub() as other:
        other.answer = lambda handler: handler.reply(200, {"Content-Type": "text/html"}, b"<html>")
        fetch.environment["HF_ENDPOINT"] = other.url
        done = fetch.hub()
    assert (done.code, "HF_ENDPOINT" in done.last) == (65, True), done


def test_a_finished_fetch_is_not_repeated(from_hub, hub):
    """Once the manifest is there another attempt asks the hub nothing."""
    assert from_hub.hub().code == 0
    hub.asked.clear()
    hub.tokens.clear()
    assert from_hub.hub().code == 0
    assert (hub.asked, hub.tokens) == ([], [])


@pytest.mark.parametrize("path", ["config.json", "sub/model.safetensors"])
def test_wrong_bytes_are_refused(from_hub, hub, path):
    """Bytes that are not those of their digest are never stored, nor is anything published."""
    hub.lies[path] = bytes(len(hub.repos[REPO][path]))
    done = from_hub.hub(ignore=["copy.json"])
    assert (done.code, "has not the promised bytes" in done.last) == (75, True), done
    assert from_hub.manifest() is None
    digest = {"config.json": hubs.git_sha1, "sub/model.safetensors": hubs.sha256}[path](hub.repos[REPO][path])
    assert not [file for file in from_hub.parts() if digest in str(file)]


REFUSALS = {
    "no such repository": ({"repo": "org/none"}, "has no model org/none"),
    "no such revision": ({"revision": "elsewhere"}, "has no revision elsewhere"),
    "terms not accepted": ({"repo": "org/gated"}, "operator.fetch_env.HF_TOKEN_PATH"),
    "no file chosen": ({"allow": ["*.none"]}, "allowPatterns"),
    "too large": ({"storage": "100Ki"}, "resources.storage"),
    "another revision declared": (
        {"artifact": {"kind": "HuggingFaceCache", "huggingFaceCache": {"repoID": REPO, "revision": "v9"}}},
        "artifact.huggingFaceCache.revision",
    ),
}


@pytest.mark.parametrize(("given", "words"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_fetched_says_what_to_do(from_hub, given, words):
    """The last line names the field to fix, nothing is published, and no other attempt is worth it."""
    done = from_hub.hub(**given)
    assert (done.code, words in done.last) == (65, True), done
    assert from_hub.manifest() is None


def test_a_hub_that_does_not_answer(fetch):
    """An outage is worth another attempt, and says where the hub was sought."""
    fetch.environment["HF_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"
    done = fetch.hub()
    assert (done.code, fetch.environment["HF_ENDPOINT"] in done.last) == (75, True), done


@pytest.mark.parametrize("path", ["../outside", "a/../../b", "/etc/passwd", "a\\..\\b", ".dyff/artifacts.json", "a//b"])
def test_names_cannot_leave_the_tree(from_hub, hub, path):
    """A hostile name fails the fetch before a byte is asked for."""
    hub.repos[REPO] = {path: b"x"}
    done = from_hub.hub(artifact=VOLUME)
    assert (done.code, "cannot be stored: the path" in done.last) == (65, True), done
    assert hub.asked == []


def test_a_source_with_too_many_files_is_refused(from_hub, hub, monkeypatch):
    """What no manifest can list fails before a byte is asked for; links count like files."""
    monkeypatch.setattr(manifests, "MAX_ENTRIES", 3)
    hub.repos[REPO] = {"a": b"x", "b": b"y"}
    done = from_hub.hub()
    assert (done.code, "has 6 files and links, more than 3" in done.last) == (65, True), done
    assert hub.asked == []
    assert from_hub.hub(artifact=VOLUME).code == 0


def test_a_token_comes_from_a_file_and_stays_secret(from_hub, hub, tmp_path):
    """`HF_TOKEN_PATH` names the token; it is sent to the hub and to no other, and nothing that is printed or stored has it."""
    token = "hf_" + "s3cret" * 6
    (tmp_path / "token").write_text(token)
    from_hub.environment["HF_TOKEN_PATH"] = str(tmp_path / "token")
    hub.cdn = hub.url.replace("127.0.0.1", "localhost")
    done = from_hub.hub(process=True)
    assert done.code == 0, done
    asked = {(host.partition(":")[0], sent) for host, sent in hub.tokens}
    assert asked == {("127.0.0.1", f"Bearer {token}"), ("localhost", None)}
    stored = b"".join(file.read_bytes() for file in from_hub.root.rglob("*") if file.is_file())
    assert token.encode() not in stored
    assert not any(token in line for line in done.lines)
