"""Secrets of the local cluster: files, as Kubernetes mounts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyff.cluster.pods import environment, refusals, secrets, specs
from dyff.cluster.pods.shim import files
from dyff.kernel import settings

PLACE = environment.Place(Path("/work"), Path("/tmp"), Path("/volumes"))


def pod(*sources: dict) -> specs.Pod:
    container = {"name": "main", "image": "x", "envFrom": list(sources), "env": [{"name": "B", "value": "own $(A)"}]}
    return specs.parse({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [container]}})


def variables(subject: specs.Pod, directory: Path | None) -> dict[str, str]:
    found = secrets.read(str(directory) if directory else None, subject)
    return environment.process(subject, subject.main, settings.Image(command=("run",)), PLACE, None, found).env


@pytest.fixture
def storage(tmp_path):
    folder = tmp_path / "storage"
    folder.mkdir()
    (folder / "A").write_text("s3cret\n")
    (folder / "B").write_text("hidden")
    (folder / "..data").write_text("Kubernetes keeps its links under such names")
    return tmp_path


def test_keys_are_variables_and_the_containers_own_come_first(storage):
    """Each file is a variable, without the last line break; `env` overrides it, and may refer to it."""
    env = variables(pod({"secretRef": {"name": "storage"}}, {"prefix": "P_", "secretRef": {"name": "storage"}}), storage)
    assert (env["A"], env["B"], env["P_A"]) == ("s3cret", "own s3cret", "s3cret")
    assert "..data" not in env


def test_what_a_pod_is_started_with_is_readable_by_its_owner_only(tmp_path):
    """The promise of a run has the values of its Secrets."""
    files.write(str(tmp_path / "intent.json"), {"env": {"A": "s3cret"}})
    assert (tmp_path / "intent.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("has_directory", [True, False])
def test_a_secret_that_is_not_there_holds_the_pod_up(tmp_path, has_directory):
    """The pod waits and says what to make; an optional one may be absent."""
    directory = tmp_path if has_directory else None
    with pytest.raises(
        refusals.Refused, match=f"no Secret 'storage' yet: {'make the directory' if has_directory else 'set pods'}"
    ) as reported:
        variables(pod({"secretRef": {"name": "storage"}}), directory)
    assert reported.value.reason == refusals.CONFIG
    assert variables(pod({"secretRef": {"name": "storage", "optional": True}}), directory)["B"] == "own $(A)"
