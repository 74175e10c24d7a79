"""Fetching models from Git: what is stored, what is refused, and where a repository cannot lead."""

from __future__ import annotations

import os
import random
import signal

import pytest

from tests.engines.ports import free_port
from tests.workflows import hub as hubs
from tests.workflows.fetching import CONFIG, VOLUME, WEIGHTS, git_source


def test_a_repository_with_large_files(fetch, git, steps, tmp_path):
    """Small files come by git, large ones over Git LFS with the headers that its server gave; links inside stay links."""
    url = git.repository(
        "tiny", {"config.json": CONFIG, "sub/model.safetensors": WEIGHTS, "sub/latest": ("120000", "model.safetensors"), "empty": b""}
    )
    done = fetch.run(git_source(url), artifact=VOLUME)
    assert done.code == 0, done
    mount = fetch.mounted(steps, tmp_path / "mount")
    assert (mount / "config.json").read_bytes() == CONFIG
    assert (mount / "sub" / "model.safetensors").read_bytes() == WEIGHTS
    assert os.readlink(mount / "sub" / "latest") == "model.safetensors"
    assert (mount / "empty").read_bytes() == b""
    digests = {each["path"]: each["digest"]["sha256"] for each in fetch.manifest()["artifacts"]}
    assert digests["sub/model.safetensors"] == hubs.sha256(WEIGHTS)
    assert len(fetch.manifest()["source"]["commit"]) == 40


def test_a_repository_as_a_hugging_face_cache(fetch, git, steps, tmp_path):
    """With that artifact kind the runners find it at the revision that was declared."""
    url = git.repository("tiny", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
    assert fetch.run(git_source(url)).code == 0
    snapshot = fetch.mounted(steps, tmp_path / "mount") / "models--org--tiny" / "snapshots" / "main"
    assert (snapshot / "model.safetensors").read_bytes() == WEIGHTS


def test_a_large_file_of_a_repository_is_gone_on_with(fetch, git):
    """A transfer that was cut off asks the LFS server for the rest only."""
    url = git.repository("tiny", {"model.safetensors": WEIGHTS})
    git.close_tap(100_000)
    process = fetch.start(git_source(url), artifact=VOLUME)
    assert git.stalled.wait(30)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    git.open_tap()
    git.asked.clear()
    assert fetch.run(git_source(url), artifact=VOLUME).code == 0
    [(_, asked)] = git.asked
    assert int(asked.removeprefix("bytes=").rstrip("-")) > 0


HOSTILE = {
    "a link out of the tree": ({"a": ("120000", "../outside")}, "must not lead out of the tree"),
    "an absolute link": ({"a": ("120000", "/etc/passwd")}, "must be a relative path"),
    "a way out by a link": ({"d/e/up": ("120000", "../.."), "b": ("120000", "d/e/up/../x")}, "must not lead out of the tree"),
    "a name of ours": ({".dyff/artifacts.json": b"{}"}, "which Dyff uses itself"),
    "a name with a backslash": ({"a\\b": b"x"}, "must not contain"),
}


@pytest.mark.parametrize(("files", "words"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_repositories_are_refused(fetch, git, files, words):
    """Names and links that could lead out of the tree fail the fetch."""
    url = git.repository("hostile", {"config.json": CONFIG, **files})
    done = fetch.run(git_source(url), artifact=VOLUME)
    assert (done.code, words in done.last) == (65, True), done
    assert fetch.manifest() is None


@pytest.mark.parametrize(("hosts", "code"), [("github.com, 127.0.0.1", 0), ("github.com", 65), ("", 65)])
def test_hosts_can_be_limited(fetch, git, hosts, code):
    """Where the hosts of repositories are named, others are refused before anything is asked of them."""
    url = git.repository("tiny", {"config.json": CONFIG})
    fetch.environment["DYFF_GIT_HOSTS"] = hosts
    done = fetch.run(git_source(url), artifact=VOLUME)
    assert (done.code, "must be on one of" in done.last) == (code, code != 0), done


def test_an_allowed_host_cannot_lead_to_another(fetch, git):
    """Where hosts are limited, redirects of a repository are not followed."""
    url = git.repository("tiny", {"config.json": CONFIG})
    fetch.environment["DYFF_GIT_HOSTS"] = "localhost"
    git.redirects_from = "localhost"
    done = fetch.run(git_source(url.replace("127.0.0.1", "localhost")), artifact=VOLUME)
    assert (done.code != 0, "cannot be cloned" in done.last) == (True, True), done


def test_submodules_are_left_out(fetch, git):
    """A submodule is reported and never fetched."""
    url = git.repository("with-module", {"config.json": CONFIG, "other": ("160000", "1" * 40)})
    done = fetch.run(git_source(url), artifact=VOLUME)
    assert done.code == 0, done
    assert any("'other' is a submodule" in line for line in done.lines)


def test_a_repository_that_is_too_large(fetch, git):
    """What a clone brings is bounded by what was declared, too."""
    url = git.repository("large", {"weights.bin": random.Random(9).randbytes(2_000_000)})
    done = fetch.run(git_source(url), artifact=VOLUME, storage="1Mi")
    assert (done.code, "resources.storage" in done.last) == (65, True), done


@pytest.mark.parametrize("name", ["tiny", "llama-403", "error:403"])
@pytest.mark.parametrize(
    ("status", "code"), [(503, 75), (500, 75), (None, 75), (403, 65), (404, 65), (401, 65)], ids=lambda value: str(value or "no server")
)
def test_what_another_try_may_cure_depends_on_the_answer_alone(fetch, git, name, status, code):
    """A server that fails, or is not there, is tried again; one that refuses is not. What the URL looks like is no matter."""
    git.status = status
    url = git.url if status else f"http://127.0.0.1:{free_port()}"
    done = fetch.run(git_source(f"{url}/{name}.git"), artifact=VOLUME)
    assert (done.code, "cannot be cloned" in done.last) == (code, True), done


def test_words_in_a_url_are_not_the_servers(fetch, git):
    """A URL in which git's own words for a refusal are is not taken for one."""
    done = fetch.run(git_source(f"{git.url}/not found, error: 403.git"), artifact=VOLUME)
    assert (done.code, "not found, error: 403.git cannot be cloned" in done.last) == (75, True), done


def test_a_long_url_hides_no_refusal(fetch, git):
    """The server's answer counts also where it comes after a URL that is longer than what is shown."""
    git.status = 403
    done = fetch.run(git_source(f"{git.url}/{'long' * 200}.git"), artifact=VOLUME)
    assert (done.code, "cannot be cloned" in done.last) == (65, True), done


def test_a_large_file_that_the_server_has_not(fetch, git):
    """A pointer without bytes is named."""
    url = git.repository("lost", {"model.safetensors": WEIGHTS})
    git.objects.clear()
    done = fetch.run(git_source(url), artifact=VOLUME)
    assert (done.code, "no bytes of model.safetensors" in done.last) == (65, True), done


def test_the_lfs_server_cannot_name_files_of_ours(fetch, git):
    """A URL that is not of the web is refused."""
    url = git.repository("tiny", {"model.safetensors": WEIGHTS})
    git.scheme = "file"
    done = fetch.run(git_source(url), artifact=VOLUME)
    assert (done.code, "neither http nor https" in done.last) == (65, True), done


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc", "must be https or http"),
        ("ext::sh -c true", "must be https or http"),
        ("http://user:pa55word@127.0.0.1:{port}/none.git", "cannot be cloned"),
    ],
)
def test_urls_that_are_not_fetched(fetch, git, url, words):
    """Only the web is fetched from, and a password in a URL is never shown."""
    port = git.url.rpartition(":")[2]
    done = fetch.run(git_source(url.replace("{port}", port)), artifact=VOLUME)
    assert (done.code, words in done.last) == (65, True), done
    assert not any("pa55word" in line for line in done.lines)
