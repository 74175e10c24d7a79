"""The cache of documents that were read."""

from __future__ import annotations

from dyff.query import document_cache, embedded, port


def test_the_least_recently_used_go_when_there_are_too_many_bytes():
    """All bodies together stay below the limit, whichever way they came."""
    kept = document_cache.DocumentCache(max_bytes=10)
    kept.keep(("a", "1"), b"1234")
    kept.keep(("a", "2"), b"1234")
    kept.get(("a", "1"))
    kept.keep(("a", "1"), b"12345")
    kept.keep(("a", "3"), b"1234")
    assert [kept.get(("a", each)) for each in "123"] == [b"12345", None, b"1234"]


def test_what_is_larger_than_the_limit_is_not_kept():
    """One large document does not stay in memory."""
    kept = document_cache.DocumentCache(max_bytes=10)
    kept.keep(("a", "1"), b"x" * 11)
    assert kept.get(("a", "1")) is None


async def test_a_document_that_was_read_is_seen_changed_forgotten_and_reset(tmp_path):
    """After each change is announced, no reader gets what was there before."""
    async with embedded.EmbeddedQuery.open(tmp_path / "view") as store:
        for version, body in enumerate([b'{"id":"1"}', b'{"id":"1","name":"n"}', None, b'{"id":"1"}']):
            await store.apply([port.Document("datasets", "1", version, body)], port.Reached("e", {0: version + 1}, {0: version + 1}))
            assert await store.get("datasets", "1") == body
            assert await store.get("datasets", "1") == body
        await store.reset()
        assert await store.get("datasets", "1") is None
