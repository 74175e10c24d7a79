"""Headers of proxies: they count only from trusted proxies, and only as far as those wrote them."""

from __future__ import annotations

import pytest

from dyff.api import forwarded
from dyff.kernel import errors, settings


def proxies(*trusted, headers="x-forwarded"):
    """The proxies with these addresses, which send this family of headers."""
    return forwarded.Proxies(settings.Api(trusted_proxies=trusted, forwarded_headers=headers))


def given(**headers):
    """Headers as the web server has them; a list is a header that is sent several times."""
    pairs = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    return [(name, each.encode("latin-1")) for name, value in pairs for each in ([value] if isinstance(value, str) else value)]


@pytest.mark.parametrize(
    ("trusted", "peer", "want"),
    [
        ((), "127.0.0.1", False),
        (("127.0.0.1",), "127.0.0.1", True),
        (("127.0.0.1",), "127.0.0.2", False),
        (("10.0.0.0/8", "::1"), "10.1.2.3", True),
        (("10.1.2.3/8",), "10.200.0.1", True),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),
        (("10.0.0.0/8",), "11.1.2.3", False),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("0.0.0.0/0",), "::1", False),
        (("::/0",), "a socket", False),
    ],
)
def test_only_named_addresses_are_trusted(trusted, peer, want):
    """By default none is; an IPv4 address is the same behind a listener for both families."""
    assert proxies(*trusted).trusts(peer) is want


@pytest.mark.parametrize(
    ("hops", "want"),
    [
        ([], "10.0.0.1"),
        ("203.0.113.5", "203.0.113.5"),
        ("6.6.6.6, 203.0.113.5", "203.0.113.5"),
        (["6.6.6.6", "203.0.113.5"], "203.0.113.5"),
        ("6.6.6.6, 203.0.113.5, 10.0.0.9", "203.0.113.5"),
        ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
        ("203.0.113.5:4711", "203.0.113.5"),
        ("[2001:db8::5]:4711", "2001:db8::5"),
        ("2001:db8::5", "2001:db8::5"),
        ("6.6.6.6, unknown", "10.0.0.1"),
        ("6.6.6.6, unknown, 10.0.0.9", "10.0.0.9"),
        ("6.6.6.6,", "10.0.0.1"),
        ("6.6.6.6, 1.2.3.4\x00", "10.0.0.1"),
        ("6.6.6.6, " + ", ".join(["10.0.0.9"] * 40), "10.0.0.9"),
    ],
)
def test_the_client_is_the_last_that_is_no_trusted_proxy(hops, want):
    """What a client adds to the front never counts, and nothing before something malformed."""
    assert proxies("10.0.0.0/8").origin("10.0.0.1", given(x_forwarded_for=hops)).client == want


@pytest.mark.parametrize(
    ("proto", "host", "want"),
    [
        ("https", "Dyff.Example:443", "https://dyff.example"),
        ("http, https", "evil.example, dyff.example", "https://dyff.example"),
        ("https", "[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
        ("https", [], None),
        ([], "dyff.example", None),
        ("javascript", "dyff.example", None),
        ("https", "dyff.example/evil", None),
        ("https", "u:p@evil.example", None),
        ("https", "evil.example?x", None),
        ("https", "a\\evil.example", None),
        ("https", "a:99999", None),
    ],
)
def test_the_url_is_that_of_the_nearest_proxy(proto, host, want):
    """Of a list the last entry counts, and what is no scheme or no host gives no URL at all."""
    assert proxies("10.0.0.1").origin("10.0.0.1", given(x_forwarded_proto=proto, x_forwarded_host=host)).base == want


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("for=203.0.113.5;proto=https;host=dyff.example", ("203.0.113.5", "https://dyff.example")),
        ('For="[2001:db8::5]:4711" ; Proto=https ;Host="dyff.example:8443"', ("2001:db8::5", "https://dyff.example:8443")),
        ("for=6.6.6.6;host=evil, for=203.0.113.5;proto=https;host=dyff.example", ("203.0.113.5", "https://dyff.example")),
        (["for=6.6.6.6", "for=203.0.113.5"], ("203.0.113.5", None)),
        ("for=6.6.6.6, for=203.0.113.5, for=10.0.0.9", ("203.0.113.5", None)),
        ('for=6.6.6.6, for="a, for=203.0.113.5"', ("10.0.0.1", None)),
        ("for=203.0.113.5;for=6.6.6.6", ("10.0.0.1", None)),
        ("for=_hidden", ("10.0.0.1", None)),
        ("for=203.0.113.5:_port", ("203.0.113.5", None)),
        ('for="', ("10.0.0.1", None)),
        ('for="\\"', ("10.0.0.1", None)),
        ("", ("10.0.0.1", None)),
    ],
)
def test_the_standard_header_is_read_with_its_quotes(value, want):
    """RFC 7239: parameters in any case and order, quoted values, several elements and several headers."""
    found = proxies("10.0.0.0/8", headers="forwarded").origin("10.0.0.1", given(forwarded=value))
    assert (found.client, found.base) == want


@pytest.mark.parametrize("family", ["x-forwarded", "forwarded"])
def test_the_other_family_of_headers_is_ignored(family):
    """A proxy passes on what it does not know, so the client could have written it."""
    forged = {"forwarded": "for=6.6.6.6;proto=https;host=evil"} if family == "x-forwarded" else {"x_forwarded_for": "6.6.6.6"}
    assert proxies("10.0.0.1", headers=family).origin("10.0.0.1", given(**forged)) == forwarded.Origin("10.0.0.1")


def test_a_proxy_that_is_no_address_is_refused():
    """The message names the setting and the value."""
    with pytest.raises(errors.Misconfigured, match=r"trusted_proxies: 'nginx' is no address or network"):
        settings.load(environment={}, flags={"api.trusted_proxies": ("nginx",)})
