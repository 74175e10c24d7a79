"""Data directories that were copied by hand, in part or at different moments: `dyff verify` says what does not fit together."""

from __future__ import annotations

import json
import shutil
import time

import httpx
import pyarrow as pa
import pyarrow.parquet
import pytest
from dyff.client import Client
from dyff.schema import requests

from dyff.accounts import restored as accounts
from tests import waiting
from tests.acceptance.conftest import Server, eventually, run

pytestmark = pytest.mark.acceptance

BUS = ("bus.sqlite", "bus.sqlite-wal", "bus.sqlite.mark")
STORES = ("bus.sqlite", "accounts.sqlite", "objects")


class Copies:
    """`old` and `new`: whole copies of a directory whose server had stopped, and between which something of each kind was done.
    `live`: of one while its server worked, file by file. The IDs of what is only in the new one.
    """

    def __init__(self, old, new, live, dataset, session):
        self.old, self.new, self.live, self.dataset, self.session = old, new, live, dataset, session

    def mixed(self, target, **older: bool):
        """The new copy, with the old one of the stores that are True."""
        shutil.copytree(self.new, target)
        names = {
            "log": BUS,
            "view": ("query.sqlite",),
            "accounts": ("accounts.sqlite",),
            "cluster": ("cluster.sqlite",),
            "objects": ("objects",),
        }
        for store in [name for name, wanted in older.items() if wanted]:
            for name in names[store]:  # the log's `-wal` is among its names
                path = target / name
                for suffix in ("-wal", "-shm"):
                    path.with_name(name + suffix).unlink(missing_ok=True)
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
                if (self.old / name).is_dir():
                    shutil.copytree(self.old / name, path)
                elif (self.old / name).exists():
                    shutil.copy2(self.old / name, path)
        return target


def verified(directory, *flags: str) -> tuple[int, list[dict], str]:
    """The exit code, the differences and the messages of `dyff verify`."""
    done = run("verify", "--json", *flags, "--data-dir", str(directory))
    return done.returncode, json.loads(done.stdout)["differences"] if done.stdout else [], done.stderr


def wait_for_relay(subject: Server) -> None:
    """Until the log has all changes of accounts: otherwise it is not newer than an old copy of them."""
    end = time.monotonic() + 60.0
    while (found := accounts.sequences(subject.directory / "accounts.sqlite")).relayed < found.made:
        assert time.monotonic() < end, found
        waiting.a_blocking_moment(0.05)


@pytest.fixture(scope="module")
def copies(tmp_path_factory, service_request):
    """Copies of one directory at different moments."""
    folder = tmp_path_factory.mktemp("copies")
    subject = Server(folder / "data", {"DYFF_PODS__ORPHAN_GRACE_S": "1"})
    rows = folder / "rows"
    rows.mkdir()
    pyarrow.parquet.write_table(pa.table({"_index_": pa.array(range(5), pa.int64()), "text": ["a"] * 5}), rows / "rows.parquet")
    subject.start()
    account = subject.command("account", "create", "--name", "auditor")
    token = subject.command("token", "create", "--account", account)
    client = Client(api_token=token, endpoint=subject.endpoint)
    service = client.inferenceservices.create(requests.InferenceServiceCreateRequest.model_validate(service_request(account)))
    assert subject.stop() == 0
    shutil.copytree(subject.directory, folder / "old")
    subject.start()
    client = Client(api_token=token, endpoint=subject.endpoint)
    dataset = client.datasets.create_arrow_dataset(rows, account=account, name="rows")
    client.datasets.upload_arrow_dataset(dataset, rows)
    eventually(lambda: client.datasets.get(dataset.id), "Ready")
    made = client.inferencesessions.create(requests.InferenceSessionCreateRequest(account=account, inferenceService=service.id))
    session = made.inferencesession
    subject.command("account", "create", "--name", "another")
    eventually(lambda: client.inferencesessions.get(session.id), "Admitted")
    wait_for_relay(subject)
    shutil.copytree(subject.directory, folder / "live", ignore=shutil.ignore_patterns("*.sock", "pods"))
    subject.kill()
    assert verified(subject.directory)[:2] == (0, [])
    shutil.copytree(subject.directory, folder / "new", ignore=shutil.ignore_patterns("*.sock", "pods"))
    return Copies(folder / "old", folder / "new", folder / "live", dataset.id, session.id)


def test_a_whole_copy_has_no_difference(copies, tmp_path):
    """Neither the old one nor the new one."""
    assert verified(copies.old, "--objects")[:2] == (0, [])
    assert verified(copies.mixed(tmp_path / "mixed"), "--objects")[:2] == (0, [])


MIXES = {
    "an old log": (("log",), {("query store", "position"), ("log", "older")}),
    "an old log and view": (("log", "view"), {("log", "older")}),
    "an old log, view and cluster": (("log", "view", "cluster"), {("log", "older")}),
    "an old log, view, cluster and objects": (("log", "view", "cluster", "objects"), {("log", "older")}),
    "an old log, view, cluster and accounts": (("log", "view", "cluster", "accounts"), {("log", "older")}),
    "old accounts": (("accounts",), {("accounts", "older")}),
    "an old cluster": (("cluster",), {("cluster", "older")}),
    "old objects": (("objects",), {("object store", "older")}),
    "an old view": (("view",), set()),
    "all but the log old": (
        ("view", "accounts", "cluster", "objects"), {("accounts", "older"), ("cluster", "older"), ("object store", "older")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXES)
def test_copies_of_different_moments_are_noticed(copies, tmp_path, name):
    """Each difference says which store is older, and what to do. A view that is behind is only filled again."""
    older, expected = MIXES[name]
    mixed = copies.mixed(tmp_path / "mixed", **dict.fromkeys(older, True))
    code, differences, messages = verified(mixed)
    assert code == (1 if expected else 0), messages
    found = {(each["place"], each["what"]) for each in differences}
    if name == "all but the log old":
        # The old view does not have the entities of which something is missing.
        assert ("accounts", "older") in found
    else:
        assert found >= expected
    assert all("docs/backup.md" in each["fix"] for each in differences if each["what"] == "older")


def test_a_live_copy_without_the_wal_files_is_refused(copies, tmp_path):
    """What was once documented as a backup: the log, the accounts and the objects. It says what is missing, and a server does not start."""
    target = tmp_path / "copy"
    target.mkdir()
    for name in STORES:
        if (copies.live / name).is_dir():
            shutil.copytree(copies.live / name, target / name)
        else:
            shutil.copy2(copies.live / name, target / name)
    code, _, messages = verified(target)
    assert code not in (0, 1)
    assert "without its -wal file" in messages
    refused = run("serve", "--data-dir", str(target), "--port", "0")
    assert refused.returncode != 0
    assert "without its -wal file" in refused.stderr
    refused = run("backup", str(tmp_path / "backup"), "--data-dir", str(target))
    assert refused.returncode != 0
    assert "without its -wal file" in refused.stderr
    assert not (tmp_path / "backup").exists()


def test_a_copy_without_a_query_store_is_proved_as_far_as_it_goes(copies, tmp_path):
    """The log is folded and compared with what the other stores have seen; a note says what was not compared."""
    mixed = copies.mixed(tmp_path / "mixed", log=True)
    (mixed / "query.sqlite").unlink()
    for path in mixed.glob("query.sqlite-*"):
        path.unlink()
    code, differences, _ = verified(mixed)
    assert code == 1
    assert {copies.dataset, f"InferenceSession/{copies.session}"} <= {each["entity"] for each in differences}


@pytest.mark.parametrize("change", ["cut", "altered", "missing", "extra", "another's list", "another's file", "another's head"])
def test_a_backup_that_was_changed_is_refused_and_the_file_is_named(copies, tmp_path, change):
    """Nothing is restored of it."""
    for name, source in {"backup": copies.new, "other": copies.old}.items():
        shutil.copytree(source, tmp_path / f"{name}-data")
        done = run("backup", str(tmp_path / name), "--data-dir", str(tmp_path / f"{name}-data"))
        assert done.returncode == 0, done.stderr
    backup, other = tmp_path / "backup", tmp_path / "other"
    object_file = next(path for path in (backup / "objects").rglob("*") if path.is_file())
    if change == "cut":
        named = object_file
        named.write_bytes(named.read_bytes()[:-1])
    elif change == "altered":
        named = backup / "stores" / "accounts.sqlite"
        data = bytearray(named.read_bytes())
        data[len(data) // 2] ^= 1
        named.write_bytes(data)
    elif change == "missing":
        named = object_file
        named.unlink()
    elif change == "extra":
        named = object_file.with_name("extra")
        named.write_bytes(b"x")
    else:
        place = {"another's list": "files.jsonl", "another's file": "stores/bus.sqlite", "another's head": "backup.json"}[change]
        shutil.copy2(other / place, backup / place)
        named = backup / ("files.jsonl" if change == "another's head" else place)
    refused = run("restore", str(backup), "--data-dir", str(tmp_path / "new"))
    assert refused.returncode == 1, refused.stderr
    if change not in ("another's list", "another's head"):
        assert str(named) in refused.stderr
    assert str(backup) in refused.stderr
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["server.lock"]


def test_what_was_revoked_and_suspended_since_stays_so(make_server, tmp_path):
    """After a restore over newer data, a revoked token and one that was not are refused, and a suspended account stays suspended."""
    subject = make_server("data")
    subject.start()
    account = subject.command("account", "create", "--name", "auditor")
    tokens = [subject.command("token", "create", "--account", account) for _ in range(2)]
    assert run("backup", str(tmp_path / "backup"), "--data-dir", str(subject.directory)).returncode == 0
    subject.command("account", "suspend", account)
    assert subject.stop() == 0
    done = run("restore", str(tmp_path / "backup"), "--data-dir", str(subject.directory), "--force")
    assert done.returncode == 0, done.stderr
    assert "still suspended or deleted, as in what was replaced: auditor" in done.stdout
    subject.start()
    assert json.loads(subject.command("account", "list"))["status"] == "Suspended"
    subject.command("account", "reactivate", account)
    for token in tokens:
        assert httpx.get(f"{subject.endpoint}/datasets", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    new = subject.command("token", "create", "--account", account)
    assert httpx.get(f"{subject.endpoint}/datasets", headers={"Authorization": f"Bearer {new}"}).status_code == 200
    assert subject.command("verify", "--objects").splitlines()[-1] == "0 differences"


def test_all_tokens_can_be_made_invalid(fresh):
    """For engines, which `dyff restore` does not restore: no token is valid after it, and new ones are."""
    fresh.start()
    account = fresh.command("account", "create", "--name", "auditor")
    old = fresh.command("token", "create", "--account", account)
    fresh.command("token", "invalidate-all")
    new = fresh.command("token", "create", "--account", account)
    codes = [httpx.get(f"{fresh.endpoint}/datasets", headers={"Authorization": f"Bearer {token}"}).status_code for token in (old, new)]
    assert codes == [401, 200]


def test_a_new_log_is_not_begun_next_to_accounts_that_have_seen_one(copies, tmp_path):
    """A copy without the log and its mark would be an empty installation with accounts. An empty mark says that it is meant."""
    mixed = copies.mixed(tmp_path / "mixed")
    for path in mixed.glob("bus.sqlite*"):
        path.unlink()
    for _ in range(2):  # also after a start that was refused
        refused = run("serve", "--data-dir", str(mixed), "--port", "0")
        assert refused.returncode != 0
        assert "is missing, but accounts.sqlite has put" in refused.stderr
        assert not (mixed / "bus.sqlite").exists()
    (mixed / "bus.sqlite.mark").touch()
    subject = Server(mixed)
    subject.start()
    assert subject.stop() == 0


def test_a_view_that_has_seen_more_than_the_log_says_what_to_do(copies, tmp_path):
    """The server does not start, and after the command that it names it does."""
    subject = Server(copies.mixed(tmp_path / "mixed", log=True))
    refused = run("serve", "--data-dir", str(subject.directory), "--port", "0")
    assert refused.returncode != 0
    assert "restore a whole backup (`dyff restore`)" in refused.stderr
    assert "run `dyff replay`" in refused.stderr
    subject.command("replay")
    subject.start()
    assert subject.stop() == 0
