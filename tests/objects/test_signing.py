"""Signed URLs of the local store: what the API checks before it serves one."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import httpx
import pytest

from dyff.kernel import errors, web_addresses
from dyff.objects import signing

START = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
KEY = "datasets/0a/träin/a b+c.parquet"
MD5 = "XUFAKrxLKna5cZ2REBfFkg=="


class StoppedClock:
    """Time that moves only on request."""

    moment = START

    def now(self):
        return self.moment

    def monotonic(self):
        return self.moment.timestamp()


@pytest.fixture
def clock():
    """A clock that the test moves."""
    return StoppedClock()


@pytest.fixture
def signer(clock):
    """A signer with a base URL that has a path."""
    return signing.Signer(b"secret", "https://dyff.example/prefix/", clock)


def parts(signed):
    """The key and the query of a URL, as a server gets them."""
    split = urlsplit(signed.url)
    assert split.path.startswith("/prefix/objects/")
    return unquote(split.path).removeprefix("/prefix/objects/"), split.query


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_was_signed_is_allowed(signer, method):
    """The server reads from the URL exactly what was signed: method, key, digest, limit and expiry."""
    signed = signer.url(method, KEY, expires_s=60, md5=MD5, limit_bytes=5)
    want = signing.Grant(method, KEY, START + timedelta(seconds=60), MD5, 5)
    assert signer.verify(method, *parts(signed)) == want


def test_bounds_that_were_not_asked_for_are_none(signer):
    """Without digest and limit the grant has none, and the client must send no header."""
    signed = signer.url("PUT", KEY)
    grant = signer.verify("PUT", *parts(signed))
    assert (grant.md5, grant.limit_bytes, signed.headers) == (None, None, {})


def test_asking_about_an_object_is_allowed_where_reading_is(signer):
    """HEAD passes with a URL for GET, and not with one for PUT."""
    assert signer.verify("HEAD", *parts(signer.url("GET", KEY))).method == "GET"
    with pytest.raises(errors.Forbidden, match="allows PUT only"):
        signer.verify("HEAD", *parts(signer.url("PUT", KEY)))


@pytest.mark.parametrize(("signed", "used"), [("GET", "PUT"), ("PUT", "GET"), ("GET", "DELETE"), ("GET", "get")])
def test_another_method_is_forbidden(signer, signed, used):
    """A URL for reading does not write, and the other way round."""
    with pytest.raises(errors.Forbidden, match=f"allows {signed} only"):
        signer.verify(used, *parts(signer.url(signed, KEY)))


@pytest.mark.parametrize("late_s", [0, 1, 10**9])
def test_an_expired_url_is_forbidden(signer, clock, late_s):
    """At its expiry a URL is worth nothing any more, and the message says when that was."""
    key, query = parts(signer.url("GET", KEY, expires_s=60))
    clock.moment = START + timedelta(seconds=59)
    assert signer.verify("GET", key, query)
    clock.moment = START + timedelta(seconds=60 + late_s)
    with pytest.raises(errors.Forbidden, match="expired at 2026-11-03 12:01:00 UTC"):
        signer.verify("GET", key, query)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"method": "GET"}, id="another method"),
        pytest.param({"expires": "99999999999"}, id="a later expiry"),
        pytest.param({"md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, id="another digest"),
        pytest.param({"limit": "6"}, id="a higher limit"),
        pytest.param({"md5": None}, id="no digest"),
        pytest.param({"limit": None}, id="no limit"),
        pytest.param({"expires": None}, id="no expiry"),
        pytest.param({"signature": "A" * 43}, id="an invented signature"),
        pytest.param({"signature": ""}, id="an empty signature"),
        pytest.param({"signature": None}, id="no signature"),
        pytest.param({"signature": "ä"}, id="a signature of other letters"),
        pytest.param({"more": "x"}, id="one more field"),
    ],
)
def test_a_changed_url_is_forbidden(signer, change):
    """Whatever is changed in a query makes it worthless."""
    key, query = parts(signer.url("PUT", KEY, md5=MD5, limit_bytes=5))
    fields = {**dict(parse_qsl(query)), **change}
    with pytest.raises(errors.Forbidden):
        signer.verify("PUT", key, urlencode({name: value for name, value in fields.items() if value is not None}))


@pytest.mark.parametrize(
    "key", ["datasets/0a/train", "datasets/0b/träin/a b+c.parquet", KEY + "/x", "", "../" + KEY, '"],[', "\ud800"], ids=ascii
)
def test_another_key_is_forbidden(signer, key):
    """A URL is for one key, and nothing that a stranger sends as a key does more than be refused."""
    _, query = parts(signer.url("GET", KEY))
    with pytest.raises(errors.Forbidden, match="signature"):
        signer.verify("GET", key, query)


@pytest.mark.parametrize(
    "query", ["", "x", "&&&&&&&&&&&&", "signature", "signature=a&signature=b", "method=GET&method=GET&signature=x", "%ff=%ff"]
)
def test_something_else_is_forbidden(signer, query):
    """A query that is none of ours is refused with a message, never a crash."""
    with pytest.raises(errors.Forbidden):
        signer.verify("GET", KEY, query)


def test_a_field_given_twice_is_forbidden(signer):
    """No two readers of a query may understand it differently."""
    key, query = parts(signer.url("GET", KEY))
    with pytest.raises(errors.Forbidden):
        signer.verify("GET", key, "expires=99999999999&" + query)
    with pytest.raises(errors.Forbidden):
        signer.verify("GET", key, query + "&method=GET")


def test_another_secret_makes_all_urls_worthless(signer, clock):
    """After the secret was rotated, nothing that was signed before is allowed."""
    after = signing.Signer(b"rotated", "https://dyff.example/prefix", clock)
    with pytest.raises(errors.Forbidden, match="no longer valid"):
        after.verify("GET", *parts(signer.url("GET", KEY)))


def test_a_bad_key_is_never_signed(signer):
    """The store's rules hold before anything is signed."""
    with pytest.raises(errors.InvalidFields):
        signer.url("GET", "../x")


def test_a_clock_that_was_set_may_be_late_by_the_leeway(clock):
    """A URL is valid for the leeway longer than it says, and not longer."""
    lenient = signing.Signer(b"secret", "https://dyff.example/prefix", clock, 30)
    key, query = parts(lenient.url("GET", KEY, expires_s=60))
    clock.moment = START + timedelta(seconds=89)
    assert lenient.verify("GET", key, query)
    clock.moment = START + timedelta(seconds=90)
    with pytest.raises(errors.Forbidden, match="expired"):
        lenient.verify("GET", key, query)


BASES = [
    "https://Dyff.Example:443", "http://host:80/", "https://[2001:DB8::1]:8443/dyff", "https://straße.example/a b/ü//", "http://10.0.0.1",
]  # fmt: skip
KEYS = ["a", KEY, "a b+c", "..a/.b", "a/...b/c..d", "ä/😀", "(1)!'", "x=y&z;,@$", "e\u0301", "~", "^`{}[]"]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("key", KEYS)
def test_a_url_arrives_as_it_was_signed(clock, base, key):
    """Under every address of the API, whatever is in the key: a client that follows the URL asks for that key, and is allowed to."""
    signer = signing.Signer(b"secret", web_addresses.normal(base), clock)
    url = httpx.URL(signer.url("GET", key).url)
    path, _, query = url.raw_path.decode().partition("?")
    asked = unquote(path).partition("/objects/")[2]
    assert asked == key
    assert signer.verify("GET", asked, query).key == key
    elsewhere = signer.moved(signer.url("GET", key), "https://other.example")
    assert elsewhere.url.startswith("https://other.example/objects/")
    assert signer.verify("GET", key, elsewhere.url.partition("?")[2]).key == key
