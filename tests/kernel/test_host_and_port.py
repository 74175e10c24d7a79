"""Places that settings name, as `host:port`."""

from __future__ import annotations

import pytest

from dyff.kernel import addresses, settings


@pytest.mark.parametrize(
    ("place", "want"),
    [
        ("10.0.0.7:8080", ("10.0.0.7", 8080)),
        ("Model.Example.com.:443", ("model.example.com", 443)),
        ("localhost:1", ("localhost", 1)),
        ("[fd00::7]:65535", ("fd00::7", 65535)),
    ],
)
def test_a_place_is_read(place, want):
    """Host and port, in the form in which hosts are compared."""
    assert addresses.host_and_port(place) == want


@pytest.mark.parametrize(
    "place",
    ["", "localhost", ":80", "localhost:", "localhost:0", "localhost:65536", "localhost:http", "localhost:8²", "http://localhost:80",
     "localhost:80/v1", "fd00::7:80", "[localhost]:80", "a b:80", "*:80", "user@host:80"],
)  # fmt: skip
def test_what_is_no_place_is_refused_with_an_example(place):
    """The setting is refused when it is read; the error shows the text and what one looks like."""
    with pytest.raises(ValueError, match=r"such as 10\.0\.0\.7:8080|as 10\.0\.0\.7:8080 has"):
        settings.Image(command=("x",), connect=(place,))
