"""Signed URLs of S3, by example and against the vendor's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import obstore
import pytest
from obstore.store import S3Store

from dyff.objects.cloud import sigv4

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
