"""Secrets of the local cluster: files, as Kubernetes mounts them; the administrator's for steps, an account's for its programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyff.cluster.pods import environment, images, refusals, secrets, specs
from dyff.cluster.pods.shim import files
from dyff.kernel import images as names
from dyff.kernel import settings

PLACE = environment.Place(Path("/work"), Path("/tmp"), Path("/volumes"))
STORAGE = {"secretRef": {"name": "storage"}}


def pod(*sources: dict, step: bool = True, account: str | None = "acme", env: tuple[dict, ...] = ()) -> specs.Pod:
    """A pod of an account, whose only container is a step or the account's program."""
    container = {"name": "main", "image": names.STEPS if step else "x", "envFrom": list(sources)}
    container["env"] = [{"name": "B", "value": "own $(A)"}, *env]
    labels = {} if account is None else {"dyff.io/account": account}
    about = {"name": "p", "uid": "u", "labels": labels, "annotations": {images.STEPS_OF: "main"} if step else {}}
    return specs.parse({"metadata": about, "spec": {"containers": [container]}})


def variables(subject: specs.Pod, directory: Path | None) -> dict[str, str]:
    found = secrets.read(str(directory) if directory else None, subject)
    return environment.process(subject, subject.main, settings.Image(command=("run",)), PLACE, None, found).env


def make(root: Path, **values: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (root / name).write_text(value)


@pytest.fixture
def storage(tmp_path):
    make(tmp_path / "storage", A="s3cret\n", B="hidden")
    (tmp_path / "storage" / "..data").write_text("Kubernetes keeps its links under such names")
    make(tmp_path / "accounts" / "acme" / "api", A="acme's", KEY="k")
    make(tmp_path / "accounts" / "other" / "api", A="other's")
    make(tmp_path / "accounts" / "other" / "only-theirs", A="other's")
    return tmp_path


def test_keys_are_variables_and_the_containers_own_come_first(storage):
    """Each file is a variable, without the last line break; `env` overrides it, and may refer to it."""
    env = variables(pod(STORAGE, {"prefix": "P_", **STORAGE}), storage)
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
    advice = "make the directory pods.secrets_dir/storage" if has_directory else "set pods"
    with pytest.raises(refusals.Refused, match=f"no Secret 'storage' yet: {advice}") as reported:
        variables(pod(STORAGE), directory)
    assert reported.value.reason == refusals.CONFIG
    assert str(tmp_path) not in reported.value.message
    assert variables(pod({"secretRef": {"name": "storage", "optional": True}}), directory)["B"] == "own $(A)"


def test_an_account_gets_its_own_secret(storage):
    """Two accounts can have a Secret of the same name; the label of the pod, which the operator writes, decides."""
    source = {"secretRef": {"name": "api"}}
    assert variables(pod(source, step=False), storage)["A"] == "acme's"
    assert variables(pod(source, step=False, account="other"), storage)["A"] == "other's"


@pytest.mark.parametrize(
    "name",
    ["storage", "only-theirs", "..", "../other/api", "../../storage", "accounts", ".", "", "/etc", "api/../../other/api", "API", "api\n"],
)
def test_an_account_cannot_name_the_secret_of_another(storage, name):
    """Not the administrator's, not another account's, by no spelling of the name; the message has no path of the machine."""
    with pytest.raises(refusals.Refused) as refused:
        variables(pod({"secretRef": {"name": name}}, step=False), storage)
    assert str(storage) not in refused.value.message


@pytest.mark.parametrize("name", ["accounts", "accounts/acme/api", "api"])
def test_a_step_gets_no_secret_of_an_account(storage, name):
    """What an account keeps is for its own programs; the folder of the accounts is no Secret."""
    with pytest.raises(refusals.Refused):
        variables(pod({"secretRef": {"name": name}}), storage)


@pytest.mark.parametrize("account", [None, "", "..", ".", "acme/../other", "../..", "a\n", "acme."])
def test_a_pod_without_an_account_gets_no_secret(storage, account):
    """A label that is no account leads nowhere."""
    with pytest.raises(refusals.Refused, match="no account") as refused:
        variables(pod({"secretRef": {"name": "api"}}, step=False, account=account), storage)
    assert refused.value.reason == refusals.INVALID


def test_names_count_with_their_capitals(storage, monkeypatch):
    """Where the file system ignores capitals, the account `Acme` still is not `acme`."""
    monkeypatch.setattr(Path, "is_dir", lambda self: True)
    with pytest.raises(refusals.Refused, match="no Secret 'api' yet"):
        variables(pod({"secretRef": {"name": "api"}}, step=False, account="Acme"), storage)


def test_a_secret_sets_no_variable_that_a_spec_must_not_set(storage):
    """The keys of an account's Secret are held to the rules for its variables; those of the administrator are not."""
    make(storage / "accounts" / "acme" / "loader", LD_PRELOAD="/x")
    with pytest.raises(refusals.Refused, match="LD_PRELOAD"):
        variables(pod({"secretRef": {"name": "loader"}}, step=False), storage)
    make(storage / "hub", DYFF_GIT_HOSTS="example.com")
    assert variables(pod({"secretRef": {"name": "hub"}}), storage)["DYFF_GIT_HOSTS"] == "example.com"


def test_a_secret_has_a_size(storage):
    """A folder with a large file is no Secret."""
    make(storage / "accounts" / "acme" / "large", KEY="x" * (secrets.MAX_SECRET_BYTES + 1))
    with pytest.raises(refusals.Refused, match="bytes"):
        variables(pod({"secretRef": {"name": "large"}}, step=False), storage)


def test_what_we_set_ourselves_an_account_cannot_change(tmp_path):
    """PATH, the folders and the port are ours, proxies are the administrator's; a step's are as its manifest says."""
    names_ = ("PATH", "HOME", "TMPDIR", "HTTPS_PROXY", "no_proxy", "HOST")
    env = tuple({"name": name, "value": "evil"} for name in names_)
    found = variables(pod(step=False, env=env), None)
    assert [found.get(name) for name in names_] == [environment.PATH, "/work", "/tmp", None, None, None]
    assert variables(pod(env=env), None)["TMPDIR"] == "evil"


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PYTHONPATH", "DYFF_STORAGE_URL", "A=B"])
def test_a_loader_variable_that_got_this_far_fails_the_pod(name):
    """Whatever an earlier release stored: the program is not started with it, and the pod says which variable it is."""
    with pytest.raises(refusals.Refused, match=name) as refused:
        variables(pod(step=False, env=({"name": name, "value": "x"},)), None)
    assert refused.value.reason == refusals.INVALID


def test_variables_that_grow_fail_the_pod():
    """References multiply, so the size is checked before a value is made."""
    env = [{"name": "A", "value": "x" * 30_000}, *({"name": "A", "value": "$(A)" * 8000} for _ in range(50))]
    with pytest.raises(refusals.Refused, match="larger than"):
        variables(pod(step=False, env=tuple(env)), None)
