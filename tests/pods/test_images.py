"""Which program runs a container: what a setting says, or ours; and only what the operator made is one of our steps."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dyff.cluster.pods import images, refusals, specs
from dyff.entities import compute
from dyff.entities.kinds import inference_session
from dyff.kernel import images as names
from dyff.kernel import settings
from tests.narrowing import sure

DIGEST = "@sha256:" + "0" * 64
OURS = ("python", "-P", "-m", "dyff.workflows")
JOB = {"kind": "Job", "name": "j"}
MARKED: dict[str, Any] = {images.STEPS_OF: "step,fetch-data"}


def mapping(*command: str) -> settings.Image:
    return settings.Image(command=command)


def program(
    image: str, name: str = "step", *, known=None, initial: bool = False, job: bool = False, environments=None, **annotations: str
) -> settings.Image:
    """How a container is run, in a pod with these annotations."""
    container = {"name": name, "image": image}
    spec = {"containers": [{"name": "main", "image": "x"}], "initContainers": [container]} if initial else {"containers": [container]}
    metadata = {"name": "p", "uid": "u", "annotations": annotations, "ownerReferences": [JOB] if job else []}
    pod = specs.parse({"metadata": metadata, "spec": spec})
    return images.program(known or {}, "python", pod, (pod.spec.init_containers or pod.spec.containers)[0], environments)


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
    assert names.bare(reference) == want


def test_the_full_name_comes_before_the_name_for_any_host():
    """A mapping for `host/name` is preferred, one for `name` holds for every host."""
    known = {"example.com/team/model": mapping("exact"), "team/model": mapping("any")}
    assert images.find(known, "python", "example.com/team/model:v2").command == ("exact",)
    assert images.find(known, "python", "other.org/team/model" + DIGEST).command == ("any",)


def test_our_own_images_need_no_setting():
    """The steps and the mock service are run by our own interpreter; the steps are never probed."""
    steps = program(names.STEPS, **MARKED)
    assert (steps.command, steps.readiness_path) == (OURS, None)
    assert program(names.STEPS, "fetch-data", initial=True, **MARKED).command == OURS
    for mock in ("", "registry.example.com/"):
        found = images.find({}, "python", f"{mock}dyff/workflows/inferenceservice-mock{DIGEST}")
        assert (found.command, found.readiness_path) == ((*OURS, "mock-service"), "/ready")


def test_a_setting_for_the_steps_is_obeyed():
    """The administrator can run the steps in another way, under their own name, which no other container gets."""
    known = {names.STEPS: mapping("mine")}
    assert program(names.STEPS, known=known, **MARKED).command == ("mine",)
    with pytest.raises(refusals.Refused):
        program(names.STEPS, "runner", known=known, **MARKED)


@pytest.mark.parametrize(("name", "annotations"), [("runner", MARKED), ("step", {}), ("step", {images.STEPS_OF: "steps"}), ("ste", MARKED)])
def test_the_name_alone_makes_no_step(name, annotations):
    """The operator also marks its steps, in an annotation of the pod, by the names of their containers."""
    with pytest.raises(refusals.Refused, match="Dyff's own steps"):
        program(names.STEPS, name, **annotations)


SPELLED = [
    ("dyff", "workflows/steps"), ("DYFF", "workflows/steps"), ("Dyff", "workflows/steps"), ("", "dyff/workflows/steps"),
    ("dyff.", "workflows/steps"), ("dyff:443", "workflows/steps"), ("docker.io", "dyff/workflows/steps"), (".", "dyff/workflows/steps"),
    ("index.docker.io", "dyff/workflows/steps"), ("localhost", "dyff/workflows/steps"), ("dyff/workflows", "steps"),
    ("dyff", "workflows//steps"),
    ("dyff", "workflows/steps/"), ("dyff", "workflows/./steps"), ("dyff", "workflows/st\u200beps"), ("ｄｙｆｆ", "workflows/steps"),
    ("dyff", "workflows/steps:latest"), ("built-in steps", ""), ("built-in steps", "x"), ("", "built-in steps"), ("x", "built-in steps"),
    ("built-in", "steps"), ("built-in%20steps", "x"), ("built-in steps@", "x"), ("built-in steps:", "x"), (" ", "built-in steps"),
]  # fmt: skip


@pytest.mark.parametrize(("host", "name"), SPELLED)
@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, ""])
def test_no_spelling_of_an_account_is_taken_for_the_steps(host, name, digest):
    """Also in a stored service that no check of today has seen, and in a pod that is marked: it is an image without a program."""
    image = inference_session._image({"host": host, "name": name, "digest": digest})
    for more in ({}, {"initial": True, **MARKED}, {"job": True, **MARKED}, MARKED):
        with pytest.raises(refusals.Refused) as refused:
            program(sure(image), **more)
        assert refused.value.reason == refusals.NO_IMAGE


@pytest.mark.parametrize(("host", "name"), SPELLED)
def test_the_api_refuses_them_or_they_are_another_image(host, name):
    """What the request's schema accepts never becomes the name of the steps, before the image is joined or after."""
    try:
        made = msgspec.convert({"host": host, "name": name, "digest": "sha256:" + "0" * 64}, compute.ContainerImageSource)
    except msgspec.ValidationError:
        return
    joined = inference_session._image(msgspec.to_builtins(made))
    assert names.bare(sure(joined)).lower() not in (names.STEPS, images.STEPS_BEFORE)


def test_a_setting_for_any_host_is_not_the_steps():
    """A mapping of the old name is for programs of accounts, if it is for anything, and never gets the rights of a step."""
    known = {"workflows/steps": mapping("x"), images.STEPS_BEFORE: mapping("x")}
    with pytest.raises(refusals.Refused, match="Dyff's own steps"):
        program("dyff/workflows/steps" + DIGEST, known=known)


@pytest.mark.parametrize("where", [{"job": True}, {"initial": True}])
def test_what_an_earlier_release_made_still_runs(where):
    """Templates of Jobs and Deployments cannot change, so the name of the steps before is known where only the operator wrote it."""
    assert program(images.STEPS_BEFORE, **where).command == OURS


@pytest.mark.parametrize(
    ("image", "where"),
    [(images.STEPS_BEFORE, {}), (images.STEPS_BEFORE + DIGEST, {"job": True}), (images.STEPS_BEFORE + ":1", {"initial": True})],
)
def test_a_runner_never_had_that_name(image, where):
    """A runner is neither in a Job nor an init container, and its image always has a digest."""
    with pytest.raises(refusals.Refused, match="Dyff's own steps"):
        program(image, **where)


ANALYSIS: dict[str, Any] = {images.STEPS_OF: "fetch,step", images.ENVIRONMENT_OF: "run"}


@pytest.mark.parametrize("image", [names.STEPS, images.STEPS_BEFORE, images.STEPS_BEFORE + DIGEST, images.MOCK_SERVICE, "x/y" + DIGEST])
@pytest.mark.parametrize("known", [{}, {"x/y": mapping("other"), names.STEPS: mapping("mine"), "dyff/workflows/steps": mapping("x")}])
def test_code_of_an_account_runs_in_an_environment_of_analyses_only(image, known):
    """In an analysis's pod, a method's image never names a step, nor a program of `pods.images`, although it is in a Job."""
    with pytest.raises(refusals.Refused, match=r"analyses\.environments"):
        program(image, "run", known=known, initial=True, job=True, **ANALYSIS)


@pytest.mark.parametrize("name", ["fetch", "step"])
def test_the_other_containers_of_an_analysis_are_steps(name):
    """By their names and their image, as everywhere. The name of an earlier release makes no step in a pod that is marked."""
    assert program(names.STEPS, name, initial=True, job=True, **ANALYSIS).command == OURS
    with pytest.raises(refusals.Refused, match="Dyff's own steps"):
        program(images.STEPS_BEFORE, name, initial=True, job=True, **ANALYSIS)


def test_a_session_cannot_use_an_environment_of_analyses():
    """Its image is looked up in `pods.images` only."""
    with pytest.raises(refusals.Refused, match="pods:"):
        program("host/dyff/analysis" + DIGEST, "runner", environments={"dyff/analysis": "/usr/bin/python3"})
