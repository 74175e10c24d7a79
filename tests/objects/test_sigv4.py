"""Signed URLs of S3, by example and against the vendor's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import obstore
import pytest
from obstore.store import S3Store

from dyff.kernel import errors
from dyff.objects.cloud import connecting, sigv4

KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def test_the_example_of_the_specification():
    """The one that AWS documents has the signature that it says."""
    url = sigv4.presign(
        sigv4.Credentials(KEY_ID, SECRET), "GET", "https://examplebucket.s3.amazonaws.com", "test.txt",
        region="us-east-1", now=datetime(2013, 5, 24, tzinfo=UTC), expires_s=86400, headers={},
    )  # fmt: skip
    assert url.endswith("&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


@pytest.mark.parametrize("token", [None, "a/token+with=signs"])
@pytest.mark.parametrize("key", ["a", "a b+c&d=e", "ä/日本/😀", "~x/-_.y", "'();,@!$[]^`{}"])
def test_as_the_vendor_signs(key, token):
    """Without headers, whatever is in a key, the URL allows what the vendor's would."""
    given = {} if token is None else {"session_token": token}
    store = S3Store("bucket", endpoint="https://host:1", access_key_id=KEY_ID, secret_access_key=SECRET, region="eu-west-1", **given)
    theirs = parse_qs(urlsplit(obstore.sign(store, "PUT", key, timedelta(seconds=60))).query)
    now = datetime.strptime(theirs["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = sigv4.presign(
        sigv4.Credentials(KEY_ID, SECRET, token), "PUT", "https://host:1/bucket", key, region="eu-west-1", now=now, expires_s=60, headers={}
    )
    assert parse_qs(urlsplit(ours).query) == theirs


ENDPOINTS = [
    "https://host", "https://host:443", "http://host:80", "http://host:443", "https://HOST.Example:443/", "HTTPS://host", "http://host:9000//",
    "https://[2001:DB8::1]", "https://[::1]:443", "http://[::1]:9000", "https://host/a/path", "https://host/a path/%20/ü/",
    "https://straße.example:8443", "https://ÜBER.example", "https://my_store-1.example", "http://10.0.0.1:80",
]  # fmt: skip
KEYS = ["a", "a b+c%25/%2F", "..a/b..", "a../.b/...", "ä/😀", "(1)*!'", "x=y&z;,:@$", "a#b?c", "e\u0301", '"<>\\^`{|}']


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_every_endpoint_is_signed_as_the_vendor_signs(method, endpoint, key):
    """Default ports, capital letters, IPv6, other letters and paths: the same signature, and the URL that it is for arrives as it is."""
    client: Any = {"allow_http": True}
    store = S3Store("bucket", endpoint=endpoint, access_key_id=KEY_ID, secret_access_key=SECRET, region="eu-west-1", client_options=client)
    theirs = parse_qs(urlsplit(obstore.sign(store, method, key, timedelta(seconds=60))).query)
    now = datetime.strptime(theirs["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    where = connecting.Connection(bucket="bucket", endpoint=endpoint)
    ours = sigv4.presign(
        sigv4.Credentials(KEY_ID, SECRET), method, where.public_base(), key, region="eu-west-1", now=now, expires_s=60, headers={}
    )
    assert parse_qs(urlsplit(ours).query) == theirs
    request = httpx.Request(method, ours)
    assert request.headers["host"] == urlsplit(ours).netloc
    assert request.url.raw_path.decode() == ours.partition(urlsplit(ours).netloc)[2]


@pytest.mark.parametrize(
    "endpoint", ["host", "ftp://host", "https://", "https://u:p@host", "https://host/?x=1", "https://host:99999", "https://a b"]
)
@pytest.mark.parametrize("name", ["endpoint", "public_endpoint"])
def test_an_endpoint_that_is_none_is_refused(name, endpoint):
    """When the store is opened, with the name of the parameter and without repeating a password."""
    with pytest.raises(errors.Misconfigured, match=f"object store's {name} is no URL of a store") as refused:
        connecting.Connection(bucket="bucket", **{name: endpoint}).check()
    assert "u:p" not in refused.value.message
