"""Base URLs have one form: the one in which clients send them."""

from __future__ import annotations

import httpx
import pytest

from dyff.kernel import web_addresses

URLS = {
    "HTTPS://Dyff.Example:443/": "https://dyff.example",
    "http://HOST:80": "http://host",
    "http://host:443": "http://host:443",
    "http://host:08080//": "http://host:8080",
    "https://[::1]:443/dyff/": "https://[::1]/dyff",
    "https://[2001:DB8:0:0::1]:8443": "https://[2001:db8::1]:8443",
    "https://DÜFF.example": "https://xn--dff-hoa.example",
    "https://straße.example": "https://xn--strae-oqa.example",
    "https://h/a b/ü/%20/%2f/+": "https://h/a%20b/%C3%BC/%20/%2F/+",
    " https://my_host ": "https://my_host",
}


@pytest.mark.parametrize(("given", "want"), URLS.items())
def test_a_url_gets_its_one_form(given, want):
    """Case, default port, final slashes, other letters and quoting make no difference, and the form is its own."""
    assert web_addresses.normal(given) == web_addresses.normal(want) == want


@pytest.mark.parametrize("given", URLS)
def test_the_host_is_the_one_that_a_client_sends(given):
    """The client's library sends just this header Host for the URL that we give it."""
    ours = web_addresses.normal(given)
    assert httpx.Request("GET", ours).headers["host"] == ours.split("/")[2]


@pytest.mark.parametrize(
    "given",
    ["", "host", "ftp://host", "http://", "http://:80", "http://u:p@host", "http://u@host", "http://h/?q", "http://h/?", "http://h/#f",
     "http://h:99999", "http://h:x", "http://[::1", "http://::1", "http://[1.2.3.4]", "http://a b", "http://a\\b", "http://a;b", "http://a%41b",
     "http://h\r\nX: 1", "http://\ud800", "http://h/a/../b", "http://h/.", "http://h/%2e%2E/a"],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_base_url_is_refused(given):
    """With a ValueError, never another error."""
    with pytest.raises(ValueError):
        web_addresses.normal(given)


@pytest.mark.parametrize(
    ("base", "want"), [(None, ""), ("https://h", ""), ("https://h/", ""), ("https://h/dyff", "/dyff/"), ("https://h/a/b/", "/a/b/")]
)
def test_the_prefix_is_the_path(base, want):
    """It ends in a slash, so that /dyff is no prefix of /dyffx."""
    assert web_addresses.prefix(base) == want
