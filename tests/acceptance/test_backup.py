"""`dyff backup` and `dyff restore` as an administrator uses them: under load, elsewhere, cut and killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import httpx
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from dyff.client import Client
from dyff.schema import requests

from tests import waiting
from tests.acceptance import forks
from tests.acceptance.conftest import DYFF, Server, eventually, plain_environment, run
from tests.acceptance.test_kill_9 import wait_for_all

pytestmark = pytest.mark.acceptance

ENTITIES = int(os.environ.get("BACKUP_ENTITIES", "400"))
"""How many entities the backup under load has. 100,000 take about a quarter of an hour."""
EVALUATIONS = int(os.environ.get("BACKUP_EVALUATIONS", "4"))
AT_ONCE = 8


def backed_up(subject: Server, target) -> str:
    """What a backup of a server's directory prints; it must succeed."""
    return finished("backup", str(target), "--data-dir", str(subject.directory))


def finished(*arguments: str) -> str:
    """What a command prints that must succeed, however long it takes."""
    done = forks.run([DYFF, *arguments], plain_environment(), timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def restored(backup, subject: Server, *flags: str) -> str:
    """Restore a backup into a server's directory."""
    return finished("restore", str(backup), "--data-dir", str(subject.directory), *flags)


def new_token(subject: Server, account: str) -> str:
    """A token for an account that exists already."""
    return subject.command("token", "create", "--account", account)


def clean(subject: Server) -> dict:
    """The report of `dyff verify --objects`, which must find no difference."""
    report = json.loads(finished("verify", "--objects", "--json", "--data-dir", str(subject.directory)))
    assert (report["count"], report["differences"]) == (0, [])
    return report


def entries(subject: Server, *flags: str) -> list[tuple[str, str]]:
    """Action and outcome of each entry of a server's audit log."""
    lines = finished("audit-log", "--data-dir", str(subject.directory), *flags).splitlines()
    return [(entry["action"], entry["outcome"]) for entry in map(json.loads, lines)]


def test_the_audit_log_is_restored_and_never_replaced(make_server, tmp_path):
    """Elsewhere it is the backup's; where there is one, nothing of it is lost and nothing is there twice. Both commands are entries."""
    first, other = make_server("data"), make_server("other")
    first.start()
    first.command("account", "create", "--name", "one")
    backed_up(first, tmp_path / "backup")
    first.command("account", "create", "--name", "two")
    assert first.stop() == 0
    restored(tmp_path / "backup", other)
    created, kept = ("operator.account.create", "ok"), ("operator.restore", "ok")
    assert entries(other, "--action", "operator.*") == [created, kept]
    restored(tmp_path / "backup", first, "--force")
    assert entries(first, "--action", "operator.*") == [created, ("operator.backup", "ok"), created, kept]


def test_evaluations_in_progress_complete_after_a_restore_elsewhere(make_server, prompts, service_request, tmp_path):
    """A backup is made while evaluations run. The restored server, on another path, completes all of them; old tokens are refused."""
    first, second = make_server("data"), make_server("elsewhere/deeper")
    first.start()
    account = first.command("account", "create", "--name", "auditor")
    old = first.command("token", "create", "--account", account)
    client = Client(api_token=old, endpoint=first.endpoint)
    dataset = client.datasets.create_arrow_dataset(prompts, account=account, name="prompts")
    client.datasets.upload_arrow_dataset(dataset, prompts)
    service = client.inferenceservices.create(requests.InferenceServiceCreateRequest.model_validate(service_request(account)))
    session = requests.EvaluationInferenceSessionRequest(inferenceService=service.id)
    body = requests.EvaluationCreateRequest(account=account, dataset=dataset.id, inferenceSession=session)
    accepted = [client.evaluations.create(body).id for _ in range(EVALUATIONS)]
    eventually(lambda: client.evaluations.get(accepted[0]), "Admitted", "Complete")
    printed = backed_up(first, tmp_path / "backup")
    assert "is complete" in printed
    assert first.stop() == 0
    shutil.rmtree(first.directory)

    second.directory.parent.mkdir(exist_ok=True)
    printed = restored(tmp_path / "backup", second)
    assert "all tokens are invalid" in printed
    second.start()
    assert httpx.get(f"{second.endpoint}/evaluations", headers={"Authorization": f"Bearer {old}"}).status_code == 401
    client = Client(api_token=new_token(second, account), endpoint=second.endpoint)
    assert wait_for_all(client, account, set(accepted)) == dict.fromkeys(accepted, ("Complete", None))
    for evaluation in accepted:
        folder = tmp_path / evaluation
        client.evaluations.download(evaluation, folder)
        rows = pyarrow.dataset.dataset(folder).to_table().to_pylist()
        assert sorted(row["_index_"] for row in rows) == list(range(20))
    assert clean(second)["entities"] >= EVALUATIONS + 2
    assert not first.directory.exists()
    assert second.stop() == 0
    assert [each for each in second.processes() if str(first.directory) in each] == []


class Load:
    """Creates entities from several threads until it is stopped, and deletes some. `acknowledged`: their IDs, in order."""

    def __init__(self, subject: Server, account: str, token: str, make) -> None:
        self.acknowledged: list[str] = []
        self._body = make(account)
        self._subject, self._token = subject, token
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(AT_ONCE)]

    def __enter__(self):
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for each in self._threads:
            each.join()

    def wait(self, count: int) -> None:
        """Wait until so many were acknowledged."""
        while len(self.acknowledged) < count:
            assert any(each.is_alive() for each in self._threads)
            waiting.a_blocking_moment()

    def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        with httpx.Client(base_url=self._subject.endpoint, headers=headers, timeout=60) as client:
            while not self._over.is_set():
                answer = client.post("/inferenceservices", json=self._body)
                answer.raise_for_status()
                self.acknowledged.append(answer.json()["id"])


def entities(subject: Server, account: str) -> dict[str, dict]:
    """All inference services of an account, by ID, as they are served."""
    headers = {"Authorization": f"Bearer {new_token(subject, account)}"}
    found = {}
    with httpx.Client(base_url=subject.endpoint, headers=headers, timeout=300) as client:
        for each in client.get("/inferenceservices", params={"limit": 10**6}).raise_for_status().json():
            found[each["id"]] = each
    return found


def test_a_backup_under_load_has_everything_that_was_acknowledged_before(make_server, service_request, prompts, tmp_path, record_property):
    """Entities are created all the time. All that were acknowledged when the backup began are in it, byte for byte; the server is not
    held up; and the restored directory has no difference.
    """
    first, second = make_server("data"), make_server("elsewhere")
    first.settings["DYFF_QUOTAS__ENTITIES"] = str(10 * ENTITIES)  # one account has all of them
    first.start()
    account = first.command("account", "create", "--name", "auditor")
    token = first.command("token", "create", "--account", account)
    client = Client(api_token=token, endpoint=first.endpoint)
    dataset = client.datasets.create_arrow_dataset(prompts, account=account, name="prompts")
    client.datasets.upload_arrow_dataset(dataset, prompts)
    eventually(lambda: client.datasets.get(dataset.id), "Ready")
    with Load(first, account, token, service_request) as load:
        load.wait(ENTITIES)
        before = list(load.acknowledged)
        # What is not ready when the backup is made becomes so twice, in both directories, at different times.
        waiting.wait_until(
            lambda: {each["status"] for key, each in entities(first, account).items() if key in before} == {"Ready"}, look_s=1.0
        )
        started = time.monotonic()
        printed = backed_up(first, tmp_path / "backup")
        during, took_s = len(load.acknowledged) - len(before), time.monotonic() - started
    measured = [f"{len(before)} entities, {during} more within {took_s:.1f} s: {printed}"]
    assert during > 0
    original = entities(first, account)
    started = time.monotonic()
    printed = restored(tmp_path / "backup", second)
    measured.append(f"restored in {time.monotonic() - started:.1f} s: {printed}")
    report = clean(second)
    assert f": {report['entities']} entities\n" in printed
    second.start(deadline_s=600.0)  # it reads all states, which takes a minute for 100,000 entities
    found = entities(second, account)
    assert set(before) <= set(found) <= set(original)
    assert all(found[each] == original[each] for each in before)
    assert report["objects"]["files"] == 1
    (tmp_path / "measured").write_text("\n".join(measured))  # for docs/backup.md
    assert second.command("verify").splitlines()[-1] == "0 differences"
    assert first.stop() == 0


def signalled(number: int, point: str, call: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that gets a signal when it calls the function `point` for the `call`-th time, before it does anything."""
    module, _, name = point.rpartition(".")
    program = (
        f"import importlib, os, signal, sys; module = importlib.import_module({module!r}); real, calls = module.{name}, [0]\n"
        f"def fatal(*args, **keywords):\n    calls[0] += 1\n    if calls[0] == {call}: os.kill(os.getpid(), {int(number)})\n"
        f"    return real(*args, **keywords)\n"
        f"module.{name} = fatal\nfrom dyff.serve import cli\nsys.argv[0] = 'dyff'\ncli.main()"
    )
    return subprocess.run([sys.executable, "-c", program, *arguments], env=plain_environment(), capture_output=True, text=True, check=False)


def killed(point: str, call: int, *arguments: str) -> None:
    """Run a command that is killed with SIGKILL there."""
    done = signalled(signal.SIGKILL, point, call, *arguments)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


BACKING_UP = [
    ("dyff.serve.backups.cut.copy", 3), ("dyff.serve.backups.files.copy", 2), ("dyff.serve.backups.taking.prove", 1),
    ("dyff.serve.backups.contents.write_head", 1), ("dyff.serve.backups.files.sync_directory", 1),
]  # fmt: skip
RESTORING = [
    ("dyff.serve.backups.files.copy", 3), ("dyff.bus.embedded.restored.start_new_epoch", 1),
    ("dyff.consumers.verification.replaying.replay", 1), ("os.sync", 1), ("dyff.serve.backups.restoring._write_mark", 3),
    ("os.rename", 4), ("os.rename", 9), ("os.rename", 14),
]  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory, service_request):
    """A server that was stopped, with some entities and a dataset, and a backup of it."""
    folder = tmp_path_factory.mktemp("original")
    subject = Server(folder / "data")
    subject.start()
    account = subject.command("account", "create", "--name", "auditor")
    token = subject.command("token", "create", "--account", account)
    with Load(subject, account, token, service_request) as load:
        load.wait(40)
    table = pa.table({"_index_": pa.array(range(20), pa.int64()), "text": [f"prompt number {n}" for n in range(20)]})
    (folder / "rows").mkdir()
    pyarrow.parquet.write_table(table, folder / "rows" / "rows.parquet")
    client = Client(api_token=token, endpoint=subject.endpoint)
    dataset = client.datasets.create_arrow_dataset(folder / "rows", account=account, name="prompts")
    client.datasets.upload_arrow_dataset(dataset, folder / "rows")
    eventually(lambda: client.datasets.get(dataset.id), "Ready")
    backed_up(subject, folder / "backup")
    assert subject.stop() == 0
    return subject


def backup_of(subject: Server):
    """The backup next to its directory."""
    return subject.directory.parent / "backup"


def copied(subject: Server, name: str) -> Server:
    """A copy of a stopped server's directory."""
    shutil.copytree(subject.directory, subject.directory.parent / name)
    return Server(subject.directory.parent / name)


@pytest.mark.parametrize(("point", "call"), BACKING_UP)
def test_a_killed_backup_leaves_nothing_that_looks_complete(original, tmp_path, point, call):
    """The target does not exist, what was written is refused, and the next backup succeeds and removes it."""
    target = tmp_path / "backup"
    killed(point, call, "backup", str(target), "--data-dir", str(original.directory))
    assert not target.exists()
    partial = tmp_path / "backup.incomplete"
    refused = run("restore", str(partial), "--data-dir", str(tmp_path / "new"))
    if (partial / "backup.json").exists():  # only the name was still to change
        assert refused.returncode == 0
    else:
        assert refused.returncode == 2
        assert "is a backup that was cut" in refused.stderr
        assert not (tmp_path / "new").exists()
    assert "is complete" in backed_up(original, target)
    assert not partial.exists()
    assert not (original.directory / "objects" / "removed").exists()


@pytest.mark.parametrize(("point", "call"), RESTORING)
def test_a_killed_restore_can_be_repeated_and_no_server_uses_what_it_left(original, tmp_path, point, call):
    """Over other data: the server refuses to start, and the next restore leaves the backup's data and keeps the others."""
    other = Server(tmp_path / "other")
    shutil.copytree(original.directory, other.directory)
    (other.directory / "mine").write_text("kept")
    killed(point, call, "restore", str(backup_of(original)), "--data-dir", str(other.directory), "--force")
    refused = run("serve", "--data-dir", str(other.directory), "--port", "0")
    assert refused.returncode == 2
    assert "is not finished" in refused.stderr
    assert run("verify", "--data-dir", str(other.directory)).returncode == 2
    printed = restored(backup_of(original), other, "--force")
    assert " 0 entities" not in printed  # also if it was only finished now
    assert sorted(path.name for path in other.directory.glob("*rest*")) == []
    [kept] = other.directory.glob("replaced-*/mine")
    assert kept.read_text() == "kept"
    assert clean(other)["entities"] >= 41


STOPPING = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]


def ended_by(number: int, done: subprocess.CompletedProcess[str]) -> None:
    """The exit code shows that it was stopped, and unless a person did it with Ctrl-C, the command says so."""
    assert "Traceback" not in done.stderr
    if number == signal.SIGINT:
        assert done.returncode == 130, done.stderr
    else:
        assert (done.returncode, f"stopped by {signal.Signals(number).name}" in done.stderr) == (128 + number, True), done.stderr


@pytest.mark.parametrize("number", STOPPING)
@pytest.mark.parametrize(("point", "call"), BACKING_UP)
def test_a_stopped_backup_leaves_nothing(original, tmp_path, point, call, number):
    """Neither the target nor what was written until then; the data directory is as before."""
    target = tmp_path / "backup"
    ended_by(number, signalled(number, point, call, "backup", str(target), "--data-dir", str(original.directory)))
    assert list(tmp_path.iterdir()) == []
    assert not (original.directory / "objects" / "removed").exists()
    assert "is complete" in backed_up(original, target)


@pytest.mark.parametrize("number", STOPPING)
@pytest.mark.parametrize(("point", "call"), RESTORING)
def test_a_stopped_restore_has_not_happened_or_is_complete(original, tmp_path, point, call, number):
    """While it builds, it removes what it built, and the data stay. Once it moves them, which is short, it ends as without the signal."""
    other = Server(tmp_path / "other")
    shutil.copytree(original.directory, other.directory)
    (other.directory / "mine").write_text("kept")
    done = signalled(number, point, call, "restore", str(backup_of(original)), "--data-dir", str(other.directory), "--force")
    if point in ("os.sync", "os.rename") or point.endswith("_write_mark"):
        assert done.returncode == 0, done.stderr
        assert len([*other.directory.glob("replaced-*/mine")]) == 1
    else:
        ended_by(number, done)
        assert (other.directory / "mine").read_text() == "kept"
    assert [path.name for path in other.directory.iterdir() if "restoring" in path.name or path.name == "restore-unfinished"] == []
    assert run("verify", "--data-dir", str(other.directory)).returncode == 0


def test_a_restore_is_refused_while_a_server_uses_the_directory(fresh, tmp_path):
    """Also with --force; nothing changes."""
    fresh.start()
    backed_up(fresh, tmp_path / "backup")
    refused = run("restore", str(tmp_path / "backup"), "--data-dir", str(fresh.directory), "--force")
    assert refused.returncode == 3
    assert "is in use by another Dyff server" in refused.stderr
    assert fresh.command("verify").splitlines()[-1] == "0 differences"
