"""The index of an owner: where each entity's newest state is, and that in few bytes."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyff.consumers.aggregator.index import ENTRY_BYTES, Index, Newest
from tests.narrowing import sure

PUTS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**63)), max_size=80)


def key(number):
    return f"entity-{number}".encode()


def put_all(index, puts):
    for place, (number, source) in enumerate(puts):
        index.put(key(number), source, place)


def contents(index):
    return {number: index.get(key(number)) for number in range(41)}


@settings(max_examples=100, deadline=None)
@given(PUTS, PUTS)
def test_it_is_what_a_dictionary_would_be(first, second):
    """The highest source wins, of equal ones the last; a dump and the changes since give the same again."""
    index, want = Index(), dict.fromkeys(range(41))
    put_all(index, first)
    dumped, changes = list(index.dumped(20_000)), []
    for puts in (second[: len(second) // 2], second[len(second) // 2 :]):
        put_all(index, puts)
        changes.append(index.take_changes())
    for puts in (first, second[: len(second) // 2], second[len(second) // 2 :]):
        for place, (number, source) in enumerate(puts):
            if want[number] is None or source >= sure(want[number]).source:
                want[number] = Newest(source, place)
    assert contents(index) == want
    assert len(index) == sum(each is not None for each in want.values())
    again = Index.loaded(dumped)
    for each in changes:
        again.apply(each)
    assert (contents(again), len(again), again.changes) == (want, len(index), 0)


def test_a_put_reports_whether_it_is_news():
    """An older state does not take the place of a newer one, and is reported."""
    index = Index()
    assert index.put(b"k", 5, 1)
    assert not index.put(b"k", 4, 2)
    assert index.put(b"k", 5, 3)
    assert index.get(b"k") == Newest(5, 3)


def test_an_index_that_is_not_whole_is_refused():
    """Pieces that are missing, doubled or cut anywhere never pass for an index."""
    index = Index()
    put_all(index, [(number, number) for number in range(41)])
    pieces = list(index.dumped(20_000))
    assert len(pieces) > 2
    whole = b"".join(pieces)
    damaged = [pieces[:-1], pieces[1:], [*pieces, pieces[0]], [whole[:-1]], [whole[:-4]], [b"\1" + whole[1:]], []]
    for each in damaged:
        with pytest.raises(ValueError, match="index"):
            Index.loaded(each)
    with pytest.raises(ValueError, match="entries"):
        Index().apply(bytes(ENTRY_BYTES + 1))


def test_an_entity_takes_few_bytes():
    """A million entities are tens of megabytes, not hundreds."""
    tracemalloc.start()
    empty = Index()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(50_000):
        empty.put(key(number), number, number)
        if number % 5000 == 4999:
            empty.take_changes()
    each = (tracemalloc.get_traced_memory()[0] - before) / 50_000
    tracemalloc.stop()
    assert each < 64
