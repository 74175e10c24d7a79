"""The steps of an evaluation on a real S3 server: unchanged, by the URL and their environment alone."""

from __future__ import annotations

import anyio
import pytest

from tests.objects import clouds
from tests.workflows import runs

pytestmark = pytest.mark.engines


class CloudStore(runs.Store):
    """A store in the cloud; what is in it is copied here to be looked at, and what is made here is copied there."""

    def __init__(self, root, connection):
        super().__init__(root)
        self.url = connection.url()
        self._remote = clouds.opened(connection)

    @property
    def environment(self):
        return {"DYFF_STORAGE_URL": self.url, **clouds.environment()}

    def dataset(self, *args, **kwargs):
        super().dataset(*args, **kwargs)
        anyio.run(self._copy_there)

    def raw_rows(self):
        anyio.run(self.copy_here)
        return super().raw_rows()

    def manifest(self):
        anyio.run(self.copy_here)
        return super().manifest()

    def progress(self):
        anyio.run(self.copy_here)
        return super().progress()

    def put(self, key, data):
        anyio.run(self._remote.put, key, data)

    async def _copy_there(self):
        for file in self.objects.rglob("*"):
            if file.is_file():
                await self._remote.put(file.relative_to(self.objects).as_posix(), file.read_bytes())

    async def copy_here(self):
        async for info in self._remote.list(""):
            file = self.objects / info.key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(await self._remote.get(info.key))


@pytest.fixture(params=["objects:s3"])
def store(request, tmp_path):
    with clouds.connection() as connection:
        yield CloudStore(tmp_path / "seen", connection)


def test_from_dataset_to_verified_output(store, steps, service):
    """Every item is there once for each replication, as processes of their own that end without a complaint."""
    store.dataset(runs.rows(30))
    client = steps.evaluate(service, replications=2, process=True)
    assert (client.code, client.last) == (0, "done: 60 of 60 items"), client
    verification = steps.verify(replications=2, process=True)
    assert verification.code == 0, verification
    assert runs.pairs(store.verified().to_pylist()) == runs.all_pairs(range(30), 2)
    assert store.progress() == {**store.progress(), "stage": "Verification", "done": 60, "total": 60}


def test_what_earlier_attempts_did_is_not_done_again(store, steps, service):
    """A second attempt finds the outputs of the first in the store."""
    store.dataset(runs.rows(5))
    assert steps.evaluate(service, attempt="one").code == 0
    again = steps.evaluate(service, attempt="two")
    assert (again.code, again.last) == (0, "done: 5 of 5 items")
    assert runs.pairs(store.raw_rows()) == runs.all_pairs(range(5))


def test_one_of_two_verifications_counts(store, steps, service):
    """The manifest is put only if it is absent; the second attempt confirms what the first published, and finds what was changed since."""
    store.dataset(runs.rows(4))
    assert steps.evaluate(service).code == 0
    assert steps.verify(attempt="verify-a").code == 0
    published = store.manifest()
    second = steps.verify(attempt="verify-b")
    assert second.code == 0, second
    assert store.manifest() == published
    store.put(published[0]["key"], b"x" * published[0]["size"])
    assert "was changed" in str(steps.verify(attempt="verify-c"))


def test_credentials_are_needed(store, steps, service, monkeypatch):
    """Without them a step says so, and nothing is written."""
    store.dataset(runs.rows(2))
    monkeypatch.setattr(clouds, "environment", lambda: {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"})
    refused = steps.evaluate(service)
    assert refused.code != 0
    assert "credentials" in str(refused)
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError):
        store.progress()
