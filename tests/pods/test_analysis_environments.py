"""Which interpreter on this machine stands for the image of a method's environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyff.cluster.pods import environments, refusals
from dyff.kernel import analysis_settings

DIGEST = "@sha256:" + "0" * 64


def a_program(path: Path) -> str:
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("known", "reference", "want"),
    [
        ({"host/a": "one", "a": "two"}, "host/a" + DIGEST, "one"),
        ({"a": "two"}, "host/a:v1", "two"),
        ({"host/a:v1": "three", "host/a": "one"}, "host/a:v1", "three"),
        ({"dyff/analysis": "one"}, "dyff/analysis", "one"),
    ],
)
def test_a_name_leads_to_an_interpreter(tmp_path, known, reference, want):
    """The whole reference counts more than its name, and this more than the name for any host."""
    known = {image: a_program(tmp_path / name / "bin" / "python") for image, name in known.items()}
    found = environments.find(known, reference)
    assert found.command == (str(tmp_path / want / "bin" / "python"), "-I")
    assert found.readiness_path is None


def test_the_default_is_next_to_the_servers_own_environment(tmp_path):
    """`make analysis-env` makes it there. Only a method that names no image gets it, and a setting counts more."""
    python = a_program(tmp_path / environments.FOLDER / "bin" / "python")
    prefix = str(tmp_path / ".venv")
    assert environments.find({}, analysis_settings.DEFAULT_IMAGE, prefix).command == (python, "-I")
    for other in ("host/dyff/analysis" + DIGEST, "dyff/analysis" + DIGEST, "analysis"):
        with pytest.raises(refusals.Refused, match="has no environment for the image"):
            environments.find({}, other, prefix)
    mine = a_program(tmp_path / "mine")
    assert environments.find({"dyff/analysis": mine}, analysis_settings.DEFAULT_IMAGE, prefix).command == (mine, "-I")


def test_what_is_missing_is_named_with_its_fix(tmp_path):
    """The default says what makes it, another image what to set, and a wrong path which one it is."""
    with pytest.raises(refusals.Refused, match=r"(?s)make analysis-env'.*analyses.environments:\n  dyff/analysis: /path"):
        environments.find({}, analysis_settings.DEFAULT_IMAGE, str(tmp_path / ".venv"))
    with pytest.raises(refusals.Refused, match=r"(?s)'host/a@sha256:0+'.*analyses.environments:\n  host/a: /path"):
        environments.find({}, "host/a" + DIGEST)
    for wrong in (str(tmp_path), str(tmp_path / "absent")):
        with pytest.raises(refusals.Refused, match="no program that can be executed") as refused:
            environments.find({"host/a": wrong}, "host/a")
        assert wrong not in refused.value.message


def test_an_installation_is_shown_as_a_whole(tmp_path):
    """A virtual environment and the system's Python are shown anyway; any other one has its packages next to it."""
    python = a_program(tmp_path / "conda" / "bin" / "python")
    assert environments.find({"a": python}, "a").paths == (str(tmp_path / "conda"),)
    (tmp_path / "conda" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    assert environments.find({"a": python}, "a").paths == ()
    assert environments.find({"a": "/usr/bin/env"}, "a").paths == ()


@pytest.mark.parametrize("changes", [{"environments": {"a": "python3"}}, {"memory": "much"}, {"memory": "0"}, {"cpu": "-1"}])
def test_wrong_settings_are_refused(changes):
    """A relative path, and what is no quantity, with the name of the setting."""
    with pytest.raises(ValueError, match=next(iter(changes))):
        analysis_settings.Analyses(**changes)
