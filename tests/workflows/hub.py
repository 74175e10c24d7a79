"""A small hub that speaks the Hugging Face hub's protocol, and a small Git server with large files."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import re
import subprocess
import threading
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tests import http_servers
from tests.narrowing import sure
from tests.workflows import runs

COMMIT = "c0ffee" + "0" * 34


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Files:
    """Bytes served with `Range`, and a tap: only so many bytes of one answer pass until it is opened."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.tap: int | None = None
        self.stalled = threading.Event()
        self._open = threading.Event()
        self.breaks: list[int] = []
        self.troubles: list[int] = []
        self.ignores_ranges = False

    def close_tap(self, after: int) -> None:
        self.tap = after
        self._open.clear()

    def open_tap(self) -> None:
        self.tap = None
        self._open.set()

    def send(self, handler, name: str, data: bytes, headers: dict[str, str]) -> None:
        asked = handler.headers.get("Range")
        self.asked.append((name, asked))
        if self.troubles:
            handler.json({}, self.troubles.pop(0))
            return
        asked = None if self.ignores_ranges else asked
        start = int(sure(re.fullmatch(r"bytes=(\d+)-", asked))[1]) if asked else 0
        if asked:
            headers = {**headers, "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        rest = data[start:]
        handler.reply(206 if asked else 200, headers, b"", length=len(rest))
        with contextlib.suppress(ConnectionError):
            if self.breaks:
                handler.wfile.write(rest[: self.breaks.pop(0)])
                handler.close_connection = True
                handler.connection.shutdown(2)
                return
            if self.tap is not None and len(rest) > self.tap:
                handler.wfile.write(rest[: self.tap])
                handler.wfile.flush()
                rest = rest[self.tap :]
                self.stalled.set()
                self._open.wait(60)
            handler.wfile.write(rest)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, headers, body, *, length=None):
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body) if length is None else length), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    def json(self, value, status=200, headers=None):
        self.reply(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode())

    def log_message(self, *_):
        pass


class Hub(Files):
    """`repos`: by name, path to bytes. `large`: suffixes that are kept as large files. `url`: for HF_ENDPOINT."""

    def __init__(self) -> None:
        super().__init__()
        self.repos: dict[str, dict[str, bytes]] = {}
        self.revisions = {"main", COMMIT}
        self.large = (".safetensors",)
        self.tokens: list[tuple[str, str | None]] = []
        self.reports_sizes = True
        self.cdn = None
        self.lies: dict[str, bytes] = {}
        self.url = ""

    def is_large(self, path: str) -> bool:
        return path.endswith(self.large)

    def answer(self, handler) -> None:
        url = urlsplit(handler.path)
        self.tokens.append((handler.headers["Host"], handler.headers.get("Authorization")))
        if match := re.fullmatch(r"/api/models/(.+)/revision/([^/]+)", url.path):
            return self._info(handler, match[1], unquote(match[2]), "blobs" in parse_qs(url.query))
        if match := re.fullmatch(r"/cdn/([0-9a-f]+)", url.path):
            return self._cdn(handler, match[1])
        if match := re.fullmatch(r"/(.+)/resolve/([^/]+)/(.+)", url.path):
            return self._resolve(handler, match[1], unquote(match[2]), unquote(match[3]))
        return handler.json({"error": "no such route"}, 404)

    def _info(self, handler, repo, revision, blobs):
        if repo == "org/gated":
            return handler.json({"error": "gated"}, 403, {"X-Error-Code": "GatedRepo"})
        if repo not in self.repos:
            return handler.json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        if revision not in self.revisions:
            return handler.json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        siblings = [self._sibling(path, data, blobs and self.reports_sizes) for path, data in self.repos[repo].items()]
        return handler.json({"id": repo, "modelId": repo, "sha": COMMIT, "private": False, "siblings": siblings})

    def _sibling(self, path, data, blobs):
        if not blobs:
            return {"rfilename": path}
        pointer = {"lfs": {"size": len(data), "sha256": sha256(data), "pointerSize": 134}} if self.is_large(path) else {}
        return {"rfilename": path, "size": len(data), "blobId": git_sha1(data), **pointer}

    def _resolve(self, handler, repo, revision, path):
        data = self.repos.get(repo, {}).get(path)
        if data is None or revision not in self.revisions:
            return handler.json({}, 404, {"X-Error-Code": "EntryNotFound"})
        headers = {"X-Repo-Commit": COMMIT}
        if self.is_large(path):
            linked = {
                "X-Linked-Etag": f'"{sha256(data)}"',
                "X-Linked-Size": str(len(data)),
                "Location": f"{self.cdn or self.url}/cdn/{sha256(data)}",
            }
            return handler.reply(302, {**headers, **linked}, b"")
        headers["ETag"] = f'"{git_sha1(data)}"'
        if handler.command == "HEAD":
            return handler.reply(200, headers, b"", length=len(data))
        return self.send(handler, path, self.lies.get(path, data), headers)

    def _cdn(self, handler, digest):
        for files in self.repos.values():
            for path, data in files.items():
                if sha256(data) == digest:
                    return self.send(handler, path, self.lies.get(path, data), {"ETag": f'"{digest}"'})
        return handler.json({}, 404)


@contextlib.contextmanager
def a_hub():
    """A running hub."""
    hub = Hub()

    class Answering(Handler):
        def do_GET(self):
            hub.answer(self)

        do_HEAD = do_GET

    with runs.serving(http_servers.Server(("127.0.0.1", 0), Answering)) as port:
        hub.url = f"http://127.0.0.1:{port}"
        try:
            yield hub
        finally:
            hub.open_tap()


class GitServer(Files):
    """Serves the repositories below `root` over HTTP, by git's own program, and their large files over Git LFS's protocol."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.objects: dict[str, bytes] = {}
        self.url = ""
        self.scheme = "http"
        self.status: int | None = None
        """Answer everything with this."""

        self.redirects_from: str | None = None

    def repository(self, name: str, files: dict[str, bytes | tuple[str, str]], *, large=(".safetensors",)) -> str:
        """Make one; a tuple is a mode and a raw content, such as a link. The URL."""
        bare = self.root / f"{name}.git"
        run = _git(bare)
        self.root.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(bare)], check=True)
        entries = []
        for path, value in files.items():
            mode, data = value if isinstance(value, tuple) else ("100644", value)
            if mode == "160000":
                assert isinstance(data, str)
                sha = data
            else:
                content = self._kept(path, data, large) if isinstance(data, bytes) else data.encode()
                sha = run("hash-object", "-w", "--stdin", data=content).strip()
            entries.append(f"{mode} {sha}\t{path}\n")
        run("update-index", "--add", "--index-info", data="".join(entries).encode())
        tree = run("write-tree").strip()
        commit = run("commit-tree", tree, "-m", "weights").strip()
        run("update-ref", "refs/heads/main", commit)
        return f"{self.url}/{name}.git"

    def _kept(self, path, data, large):
        if not path.endswith(large):
            return data
        self.objects[sha256(data)] = data
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(data)}\nsize {len(data)}\n".encode()

    def answer(self, handler) -> None:
        url = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if self.status is not None:
            return handler.reply(self.status, {}, b"")
        if self.redirects_from and handler.headers["Host"].startswith(self.redirects_from):
            return handler.reply(302, {"Location": self.url + handler.path}, b"")
        if url.path.endswith("/info/lfs/objects/batch"):
            return self._batch(handler, json.loads(body))
        if match := re.fullmatch(r"/lfs/([0-9a-f]{64})", url.path):
            if handler.headers.get("X-Ticket") != "42":
                return handler.json({"message": "no ticket"}, 403)
            return self.send(handler, match[1], self.objects[match[1]], {})
        return self._backend(handler, url, body)

    def _batch(self, handler, question):
        assert question["operation"] == "download"
        assert handler.headers["Accept"] == "application/vnd.git-lfs+json"
        objects = []
        for each in question["objects"]:
            if each["oid"] in self.objects:
                href = f"{self.url.replace('http', self.scheme, 1)}/lfs/{each['oid']}"
                objects.append({**each, "actions": {"download": {"href": href, "header": {"X-Ticket": "42"}}}})
            else:
                objects.append({**each, "error": {"code": 404, "message": "Object does not exist"}})
        return handler.json({"transfer": "basic", "objects": objects}, 200, {"Content-Type": "application/vnd.git-lfs+json"})

    def _backend(self, handler, url, body):
        environment = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": unquote(url.path),
            "QUERY_STRING": url.query, "REQUEST_METHOD": handler.command, "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)), "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environment, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        handler.reply(status, headers, content)


def _git(bare: Path):
    identity = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t"}
    environment = {"PATH": os.environ["PATH"], "GIT_DIR": str(bare), "HOME": str(bare), "GIT_CONFIG_NOSYSTEM": "1", **identity}

    def run(*arguments, data=b""):
        return subprocess.run(["git", *arguments], input=data, capture_output=True, check=True, env=environment).stdout.decode()

    return run


@contextlib.contextmanager
def a_git_server(root: Path):
    """A running Git server."""
    server = GitServer(root)

    class Answering(Handler):
        def do_GET(self):
            server.answer(self)

        do_POST = do_GET

    with runs.serving(http_servers.Server(("127.0.0.1", 0), Answering)) as port:
        server.url = f"http://127.0.0.1:{port}"
        try:
            yield server
        finally:
            server.open_tap()
