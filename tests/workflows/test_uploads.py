"""Evaluations of services that take files: what arrives at a real HTTP server that parses forms."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import json

import multipart
import pyarrow as pa
import pytest

from tests import http_servers
from tests.workflows import runs

DIGEST_OUT = [{"kind": "TransformJSON", "configuration": {"text": "$.digest"}}]
MEDIA = pa.struct([("data", pa.binary()), ("mediaType", pa.string())])
ROWS = pa.table(
    {
        "_index_": [3, 5],
        "image": pa.array(
            [{"data": bytes(range(256)) * 500, "mediaType": "image/png"}, {"data": b"\r\n--", "mediaType": "image/jpeg"}], MEDIA
        ),
        "model": ["ü", "m"],
    }
)
UPLOAD = {
    "field": "$.image.data",
    "name": "upload",
    "filename": 'a "picture"',
    "contentType": "$.image.mediaType",
    "formFields": {"model": "$.model", "top": 3},
}


@contextlib.contextmanager
def a_service(statuses=()):
    """A service that answers a form with the digest of its file, or first with `statuses`; its URL and the forms it got."""
    forms, left = [], list(statuses)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self._send(200, {})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kind, options = multipart.parse_options_header(self.headers["Content-Type"])
            assert kind == "multipart/form-data"
            parts = list(multipart.MultipartParser(io.BytesIO(body), options["boundary"]))
            fields = {part.name: part.value for part in parts if part.filename is None}
            files = [(part.name, part.filename, part.content_type, part.raw) for part in parts if part.filename is not None]
            forms.append((fields, files))
            for part in parts:
                part.close()
            self._send(left.pop(0) if left else 200, {"digest": hashlib.sha256(files[0][3]).hexdigest()})

        def _send(self, status, answer):
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with runs.serving(http_servers.Server(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}", forms


def evaluate(steps, url, **kwargs):
    inputs = [{"kind": "FileUpload", "configuration": UPLOAD}]
    return steps.evaluate(url, endpoint="describe", inputs=inputs, outputs=DIGEST_OUT, **kwargs)


@pytest.mark.parametrize("replicas", [1, 2])
def test_files_arrive_as_they_are_in_the_dataset(store, steps, replicas):
    """Bytes of the dataset arrive unchanged as a file, the named fields next to it, once for each replication."""
    store.dataset(ROWS)
    with a_service() as (url, forms):
        run = evaluate(steps, url, replications=2, replicas=replicas)
    assert run.code == 0, run
    want = [
        ({"model": row["model"], "top": "3"}, [("upload", 'a "picture"', row["image"]["mediaType"], row["image"]["data"])])
        for row in ROWS.to_pylist()
        for _ in range(2)
    ]
    assert sorted(forms, key=repr) == sorted(want, key=repr)
    digests = {row["_index_"]: hashlib.sha256(row["image"]["data"]).hexdigest() for row in ROWS.to_pylist()}
    assert runs.pairs(store.raw_rows()) == runs.all_pairs([3, 5], 2)
    assert all(row["responses"][0]["text"] == digests[row["_index_"]] for row in store.raw_rows())


def test_an_upload_is_tried_again_whole(store, steps):
    """After a transient error the same form goes out again."""
    store.dataset(ROWS.slice(0, 1))
    with a_service([503]) as (url, forms):
        assert evaluate(steps, url).code == 0
    assert len(forms) == 2
    assert forms[0] == forms[1]


def test_an_item_that_cannot_be_uploaded(store, steps):
    """An item that does not fit FileUpload ends the run with the item, the adapter and the reason."""
    store.dataset(pa.table({"_index_": [1], "image": pa.array([{"data": b"x", "mediaType": "a\r\nb: c"}], MEDIA), "model": ["m"]}))
    with a_service() as (url, forms):
        run = evaluate(steps, url)
    assert run.code != 0
    assert "Item 1 does not fit the input pipeline: adapter 0 (FileUpload): contentType must be a media type" in run.last
    assert forms == []
