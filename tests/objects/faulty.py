"""A small S3 of the tests' own, in this process, that can misbehave. It checks no signatures; the real server does."""

from __future__ import annotations

import contextlib
import hashlib
import html
import http.server
import itertools
import re
import threading
from urllib.parse import parse_qs, unquote, urlsplit

from tests import http_servers

DATE = "Tue, 03 Nov 2026 12:00:00 GMT"


class Faulty:
    """What it holds, what it was asked, and how it answers.

    `requests`: `"METHOD key?query"` of each. `parts`: of the uploads that are neither completed nor aborted, by their IDs and
    their numbers. `conditional`: whether it obeys If-None-Match. `md5_etags`: whether an ETag is an MD5, as with encryption by
    the store it is not. `refusals`: status and error code for all that is asked of a key, or below a prefix. `answers`: statuses for
    the next requests of a method, for instance `{"PUT": [500]}`; negative: and nothing is done.
    `post_refusals`: status and error code for what begins or completes an upload in parts, or deletes, by `begin`, `complete`, `delete`.
    """

    def __init__(self):
        self.objects, self.requests, self.parts = {}, [], {}
        self.uploads = itertools.count(1)
        self.conditional = self.md5_etags = True
        self.answers = {}
        self.refusals, self.post_refusals = {}, {}
        self.url = ""

    def asked(self, method):
        return [request for request in self.requests if request.startswith(f"{method} ")]


@contextlib.contextmanager
def a_store():
    """A running one."""
    state = Faulty()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self):
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            key, query = self._asked()
            if self._refuses(key):
                return None
            if "partNumber" in query:
                parts = state.parts.get(query["uploadId"][0])
                if parts is None:
                    return self._say(404)  # it comes late: its upload was given up
                parts[int(query["partNumber"][0])] = body
                return self._say(200, ETag='"part"')
            if state.conditional and self.headers["If-None-Match"] == "*" and key in state.objects:
                return self._say(412)
            status = self._status()
            if status is None or status > 0:
                state.objects[key] = body
            return self._say(status or 200, ETag=_etag(state, body))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            key, query = self._asked()
            if any(each.encode() in body for each in state.refusals) and self._refuses(*state.refusals):
                return None
            if self._asks_for(query) in state.post_refusals:
                status, code = state.post_refusals[self._asks_for(query)]
                return self._say(status, f"<Error><Code>{code}</Code><Message>as asked for</Message></Error>".encode())
            if "delete" in query:
                keys = [html.unescape(each.decode()) for each in re.findall(rb"<Key>(.*?)</Key>", body)]
                for each in keys:
                    state.objects.pop(each, None)
                deleted = "".join(f"<Deleted><Key>{html.escape(each)}</Key></Deleted>" for each in keys)
                return self._say(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())
            if "uploads" in query:
                upload = str(next(state.uploads))
                state.parts[upload] = {}
                answer = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
                return self._say(200, answer.encode())
            state.objects[key] = b"".join(body for _, body in sorted(state.parts.pop(query["uploadId"][0]).items()))
            return self._say(200, b'<CompleteMultipartUploadResult><ETag>"x-1"</ETag></CompleteMultipartUploadResult>')

        def do_GET(self):
            key, query = self._asked()
            if self._refuses(key):
                return None
            if "list-type" in query:
                return self._say(200, _listing(state, query.get("prefix", [""])[0]))
            status, body = self._status(), state.objects.get(key)
            if status or body is None:
                return self._say(status or 404)
            if asked := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers["Range"] or ""):
                first = int(asked[1]) if asked[1] else max(0, len(body) - int(asked[2]))
                end = min(len(body), int(asked[2]) + 1) if asked[1] and asked[2] else len(body)
                place = {"Content-Range": f"bytes {first}-{end - 1}/{len(body)}"}
                return self._say(206, body[first:end], ETag=_etag(state, body), **place)
            return self._say(200, body, ETag=_etag(state, body))

        def do_HEAD(self):
            self.do_GET()

        def do_DELETE(self):
            key, query = self._asked()
            if upload := query.get("uploadId"):
                state.parts.pop(upload[0], None)
            else:
                state.objects.pop(key, None)
            self._say(204)

        def _asked(self):
            parts = urlsplit(self.path)
            key = unquote(parts.path).partition("/bucket/")[2]
            state.requests.append(f"{self.command} {key}" + (f"?{parts.query}" if parts.query else ""))
            return key, parse_qs(parts.query, keep_blank_values=True)

        def _refuses(self, key):
            """Whether it was answered with the error that is set for this key."""
            found = next((each for each in state.refusals if key == each or (each.endswith("/") and key.startswith(each))), None)
            if found is None:
                return False
            status, code = state.refusals[found]
            self._say(status, f"<Error><Code>{code}</Code><Message>as asked for</Message></Error>".encode() if code else b"")
            return True

        def _asks_for(self, query):
            """What a POST is for."""
            return "begin" if "uploads" in query else "complete" if "uploadId" in query else "delete"

        def _status(self):
            waiting = state.answers.get(self.command)
            return waiting.pop(0) if waiting else None

        def _say(self, status, body=b"", **headers):
            self.send_response(abs(status))
            for name, value in {"Last-Modified": DATE, **headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                with contextlib.suppress(ConnectionError):  # who asked has gone
                    self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http_servers.Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def _listing(state, prefix):
    """All keys with this prefix, in one page."""
    found = "".join(
        f"<Contents><Key>{html.escape(key)}</Key><Size>{len(body)}</Size><ETag>{html.escape(_etag(state, body))}</ETag>"
        "<LastModified>2026-11-03T12:00:00.000Z</LastModified></Contents>"
        for key, body in sorted(state.objects.items()) if key.startswith(prefix)
    )  # fmt: skip
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()


def _etag(state, body):
    digest = hashlib.md5(body if state.md5_etags else b"encrypted" + body, usedforsecurity=False)
    return f'"{digest.hexdigest()}"'
