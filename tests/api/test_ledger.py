"""What an account uses, as one process knows it, as tables: the rule of a limit, and the way of a claim into the view."""

from __future__ import annotations

import pytest

from dyff.api import ledger
from dyff.kernel import settings
from dyff.kernel.positions import Position
from dyff.query.port import Usage

ONE = Usage(1, 100, 0)
LIMITS = settings.Quotas(entities=10, document_bytes=1000, object_bytes=None)


@pytest.mark.parametrize(
    ("used", "more", "want"),
    [
        (Usage(), ONE, None),
        (Usage(9, 900), ONE, None),
        (Usage(10, 0), ONE, "10/10"),
        (Usage(99, 0), ONE, "99/10"),
        (Usage(1, 901), ONE, "901/1000"),
        (Usage(10, 1000), Usage(), None),
        (Usage(10, 1000), Usage(0, 0, 5), None),
        (Usage(10, 900), Usage(0, 100), None),
        (Usage(20, 2000), Usage(0, -100), None),
        (Usage(0, 0, 2**60), Usage(1, 1, 2**60), None),
    ],
)
def test_what_is_refused(used, more, want):
    """Exactly what would be over a limit to which the request adds; null is no limit."""
    refusal = ledger.exceeded("acc", used, more, LIMITS)
    assert (refusal and refusal.message.startswith(f"Account quota exceeded: {want}. ")) is (None if want is None else True)


def at(offset: int, partition: int = 0) -> Position:
    return Position("e", partition, offset)


def read(book: ledger.Book, usage: Usage, now: float = 0.0, **events: int) -> None:
    book.begin_read()
    book.take(usage, {int(partition[1:]): end for partition, end in events.items()}, now)


def test_a_claim_counts_until_the_view_includes_it():
    """In flight, in the log, and in the view, but never twice once the view has been read after it."""
    book = ledger.Book()
    first, second = book.claim(ONE, None), book.claim(ONE, None)
    assert book.used == Usage(2, 200)
    book.done(first, at(5))
    read(book, Usage(), p0=5)
    assert book.used == Usage(2, 200)
    book.done(second, at(9))
    assert book.ends() == {0: 10}
    read(book, Usage(1, 100), p0=6)
    assert book.used == Usage(2, 200)
    read(book, Usage(2, 200), p0=10)
    assert (book.used, book.is_idle, book.ends()) == (Usage(2, 200), True, {})


def test_what_was_not_published_does_not_count_and_what_perhaps_was_does_for_a_while():
    """A claim ends once, whatever is said about it afterwards."""
    book = ledger.Book()
    one, other = book.claim(ONE, "one"), book.claim(ONE, "other")
    book.cancel(one)
    book.cancel(one)
    assert (book.used, book.knows("one"), book.knows("other")) == (ONE, False, True)
    book.not_known(other, until=60.0)
    book.cancel(other)
    read(book, Usage(), now=59.0)
    assert book.used == ONE
    read(book, Usage(), now=60.0)
    assert (book.used, book.knows("other")) == (Usage(), False)


def test_a_repetition_counts_once():
    """By its name, until the view includes it; then the API finds the entity itself."""
    book = ledger.Book()
    first = book.claim(ONE, "key")
    book.done(book.claim(ONE, "key"), at(7))
    assert book.used == ONE
    book.done(first, at(4))
    assert book.knows("key")
    read(book, ONE, p0=8)
    assert (book.used, book.knows("key")) == (ONE, False)


def test_files_of_an_upload_count_as_far_as_the_view_does_not():
    """A file again replaces the earlier one; what is recorded of the upload is not counted twice."""
    book = ledger.Book()
    assert book.growth("e", {"a": 10}, 0) == 10
    book.upload("datasets", "e", {"a": 10}, 0)
    assert (book.growth("e", {"a": 10}, 0), book.growth("e", {"a": 12, "b": 5}, 0)) == (0, 7)
    book.upload("datasets", "e", {"a": 12, "b": 5}, 0)
    assert book.used.object_bytes == 17
    book.recount("e", 12)
    assert book.used.object_bytes == 5
    book.upload("datasets", "e", {"a": 0, "b": 0}, 12)
    assert book.used.object_bytes == 0
    book.recount("e", None)
    assert (book.used, book.is_idle) == (Usage(), True)


def test_the_files_of_many_uploads_are_bounded(monkeypatch):
    """Then only the sum of the largest upload is remembered: nothing is lost from what counts."""
    monkeypatch.setattr(ledger, "MAX_FILES", 10)
    book = ledger.Book()
    for entity in "abc":
        book.upload("datasets", entity, {str(number): 1 for number in range(6)}, 0)
    assert book.used.object_bytes == 18
    assert sum(len(each.files) for each in book.uploads.values()) <= 10
