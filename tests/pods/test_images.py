from __future__ import annotations

import pytest

from dyff.cluster.pods import images, refusals
from dyff.kernel import settings

DIGEST = "@sha256:" + "0" * 64
OURS = ("python", "-P", "-m", "dyff.workflows")


def mapping(*command: str) -> settings.Image:
    return settings.Image(command=command)


@pytest.mark.parametrize(
    ("reference", "want"),
    [
        ("a/b", "a/b"),
        ("a/b" + DIGEST, "a/b"),
        ("host:5000/a/b:v1", "host:5000/a/b"),
        ("host:5000/a/b:v1" + DIGEST, "host:5000/a/b"),
        ("host:5000/b", "host:5000/b"),
    ],
)
def test_tag_and_digest_do_not_count(reference, want):
    """An image is known by its host and name; a port of the host is no tag."""
    assert images.bare(reference) == want


def test_the_full_name_comes_before_the_name_for_any_host():
    """A mapping for `host/name` is preferred, one for `name` holds for every host."""
    known = {"example.com/team/model": mapping("exact"), "team/model": mapping("any")}
    assert images.find(known, "python", "example.com/team/model:v2").command == ("exact",)
    assert images.find(known, "python", "other.org/team/model" + DIGEST).command == ("any",)


def test_our_own_images_need_no_setting():
    """The steps and the mock service are run by our own interpreter; the steps are never probed."""
    steps = images.find({}, "python", "dyff/workflows/steps:1.0")
    assert (steps.command, steps.readiness_path) == (OURS, None)
    mock = images.find({}, "python", "registry.example.com/dyff/workflows/inferenceservice-mock" + DIGEST)
    assert (mock.command, mock.readiness_path) == ((*OURS, "mock-service"), "/ready")


def test_nobody_gets_the_steps_by_naming_an_image_like_them():
    """The steps of another host are just an unknown image."""
    with pytest.raises(refusals.Refused):
        images.find({}, "python", "evil.example.com/dyff/workflows/steps")


def test_settings_come_before_our_own():
    """A setting for our own image is obeyed."""
    assert images.find({images.STEPS: mapping("mine")}, "python", images.STEPS).command == ("mine",)
