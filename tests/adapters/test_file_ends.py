"""What the last bytes of a file reveal."""

from __future__ import annotations

import pytest

from dyff.adapters import file_ends


def tail(length: int, magic: bytes = b"PAR1") -> bytes:
    return b"..." + length.to_bytes(4, "little") + magic


@pytest.mark.parametrize(
    ("end", "size", "words"),
    [
        (tail(10), 100, None),
        (b"", 0, "has no bytes"),
        (tail(10, b"PARE"), 100, "encrypted"),
        (tail(10, b"NONE"), 100, "not the whole of one"),
        (b"PAR1", 4, "not the whole of one"),
        (tail(93), 100, "damaged"),
        (tail(92), 100, None),
        (tail(file_ends.MAX_FOOTER_BYTES), 10**9, "write fewer row groups"),
    ],
)
def test_what_is_wrong_with_the_end_of_a_file(end, size, words):
    """Of a Parquet file nothing; otherwise the end of a sentence about the file."""
    found = file_ends.problem(end, file_ends.length(end), size)
    assert found is None if words is None else words in str(found)
