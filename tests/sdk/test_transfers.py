"""Files down with both clients: whole, right, resumed; and what both directions have in common."""

from __future__ import annotations

import base64
import hashlib
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

import httpx
import pytest

from dyff.sdk import errors, tally
from tests import http_servers
from tests.narrowing import sure
from tests.sdk.conftest import got

ID = "a" * 32


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


class Store:
    """A server of one evaluation's files, and what was asked of it. `breaks`: sizes after which single answers break off."""

    def __init__(self, files: dict[str, bytes], *, digests: dict[str, str | None] | None = None, breaks: list[int] | None = None) -> None:
        self.files = files
        self.digests = {**{path: md5(content) for path, content in files.items()}, **(digests or {})}
        self.breaks = breaks or []
        self.asked: list[tuple[str, str | None]] = []
        self.expired: set[str] = set()
        self.links = 0
        self.takes_ranges = True

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/downlinks"):
            self.links += 1
            return httpx.Response(200, json=[self._link(path) for path in self.files])
        assert "authorization" not in request.headers
        assert request.headers["accept-encoding"] == "identity"
        path = request.url.path.removeprefix("/objects/")
        self.asked.append((path, request.headers.get("range")))
        if request.url.params["n"] in self.expired:
            return httpx.Response(403, json={"detail": "this URL expired"})
        return self._content(self.files[path], request.headers.get("range"))

    def _link(self, path: str) -> dict:
        url = f"http://server/objects/{path}?n={self.links}"
        return {"artifact": {"path": path, "digest": {"md5": self.digests[path]}}, "signedURL": {"url": url}}

    def _content(self, content: bytes, span: str | None) -> httpx.Response:
        start = int(sure(re.fullmatch(r"bytes=(\d+)-", span))[1]) if span and self.takes_ranges else 0
        if span and start >= len(content):
            return httpx.Response(416)
        rest, end = content[start:], self.breaks.pop(0) if self.breaks else None
        headers = {"content-length": str(len(rest)), "etag": f'"{md5(content)}"'}
        return httpx.Response(206 if start else 200, headers=headers, stream=Pieces(rest, end))


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that may break off."""

    def __init__(self, content: bytes, end: int | None) -> None:
        self._content, self._end = content, end

    def __iter__(self):
        yield self._content[: self._end]
        if self._end is not None:
            raise httpx.ReadError("broke off")

    async def __aiter__(self):
        for piece in self:
            yield piece


async def download(client, folder) -> None:
    await got(client.evaluations.download(ID, folder / "out", progress=False))


async def test_a_download_appears_whole_or_not_at_all(connect, tmp_path):
    """All artifacts are at their paths below the destination, and nothing else is left next to it."""
    await download(connect(Store({"a.parquet": b"rows", "part=1/b.parquet": b"more", "empty": b""})), tmp_path)
    assert (tmp_path / "out/part=1/b.parquet").read_bytes() == b"more"
    assert (tmp_path / "out/empty").read_bytes() == b""
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


async def test_wrong_bytes_are_refused(connect, tmp_path):
    """An artifact whose digest does not fit fails the download and leaves no destination."""
    with pytest.raises(errors.TransferFailed, match=r"a\.parquet"):
        await download(connect(Store({"a.parquet": b"rows"}, digests={"a.parquet": md5(b"other")})), tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", ""])
async def test_a_path_cannot_leave_the_destination(connect, tmp_path, path):
    """A hostile server cannot write elsewhere, and nothing is fetched."""
    store = Store({path: b"rows"})
    with pytest.raises(errors.TransferFailed, match="leaves the destination"):
        await download(connect(store), tmp_path)
    assert (store.asked, list(tmp_path.iterdir())) == ([], [])


async def test_an_existing_destination_is_not_touched(connect, tmp_path):
    """Nothing is overwritten."""
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="choose a new directory"):
        await download(connect(Store({"a": b""})), tmp_path)


async def test_a_download_that_breaks_off_goes_on_where_it_was(connect, tmp_path):
    """Each try asks for the rest only, as often as it makes progress, and the bytes are the promised ones."""
    store = Store({"a": bytes(range(100))}, breaks=[10] * 8)
    await download(connect(store), tmp_path)
    assert store.asked == [("a", None), *(("a", f"bytes={n}-") for n in range(10, 90, 10))]
    assert (tmp_path / "out/a").read_bytes() == bytes(range(100))


async def test_a_download_that_was_given_up_is_taken_up_by_the_next(connect, tmp_path):
    """What has arrived stays next to the destination; whole files are not fetched again, and the rest of one is."""
    store = Store({"a": b"0123456789", "b": b"whole"}, breaks=[4, *[0] * 20])
    client = connect(store)
    store.files.pop("b")
    with pytest.raises(errors.ServerUnreachable, match="goes on from there"):
        await download(client, tmp_path)
    assert not (tmp_path / "out").exists()
    (tmp_path / f"out.{ID}.partial/b").write_bytes(b"whole")
    store.files["b"], store.breaks, store.asked = b"whole", [], []
    await download(client, tmp_path)
    assert store.asked == [("a", "bytes=4-")]
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {"a": b"0123456789", "b": b"whole"}


async def test_a_beginning_of_another_file_is_noticed(connect, tmp_path):
    """If the whole is not right because of what was there before, it is fetched again."""
    (tmp_path / f"out.{ID}.partial").mkdir()
    (tmp_path / f"out.{ID}.partial/a").write_bytes(b"wrong")
    store = Store({"a": b"0123456789"})
    await download(connect(store), tmp_path)
    assert store.asked == [("a", "bytes=5-"), ("a", None)]
    assert (tmp_path / "out/a").read_bytes() == b"0123456789"


async def test_more_bytes_than_the_file_has_are_noticed(connect, tmp_path):
    """A beginning that is too long cannot be continued: the file is fetched again."""
    (tmp_path / f"out.{ID}.partial").mkdir()
    (tmp_path / f"out.{ID}.partial/a").write_bytes(b"0123456789 and more")
    await download(connect(Store({"a": b"0123456789"})), tmp_path)
    assert (tmp_path / "out/a").read_bytes() == b"0123456789"


async def test_a_store_without_ranges_is_asked_for_the_whole(connect, tmp_path):
    """An answer that is not partial replaces what was there."""
    store = Store({"a": b"0123456789"}, breaks=[4])
    store.takes_ranges = False
    await download(connect(store), tmp_path)
    assert (tmp_path / "out/a").read_bytes() == b"0123456789"


async def test_an_expired_url_is_asked_for_again(connect, tmp_path):
    """A refused URL is renewed once."""
    store = Store({"a": b"rows"})
    store.expired = {"0", "1"}
    await download(connect(store), tmp_path)
    assert (tmp_path / "out/a").read_bytes() == b"rows"
    store.expired |= {"2", "3", "4"}
    (tmp_path / "out").rename(tmp_path / "first")
    with pytest.raises(errors.NotAllowed, match="expired"):
        await download(connect(store), tmp_path)


async def test_one_failure_ends_the_others(connect, tmp_path):
    """The first error is the one that is raised, and nothing is left running."""
    files = {f"f{n}": b"x" * 10 for n in range(50)}
    store = Store(files, digests={"f0": md5(b"other")})
    with pytest.raises(errors.TransferFailed, match="f0"):
        await download(connect(store), tmp_path)
    assert [each.name for each in threading.enumerate() if each.name.startswith("dyff-transfer")] == []


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    """Files and bytes, total included where it is known; the bar goes away when all is there."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with tally.choose(True, "download", 2) as count:
        assert isinstance(count, tally.Bar)
        count.expect(2_000_000)
        count.add(1_000_000)
        count.finish_file()
    assert "download 1 of 2" in capsys.readouterr().out


INTERRUPTED = """
import httpx, sys, time
from dyff.sdk import Client
class Slow(httpx.SyncByteStream):
    def __iter__(self):
        while True:
            yield b"x" * 1000
            print("more", flush=True)
            time.sleep(0.01)
def handler(request):
    if request.url.path.endswith("/downlinks"):
        return httpx.Response(200, json=[{"artifact": {"path": str(n)}, "signedURL": {"url": f"http://s/{n}"}} for n in range(20)])
    return httpx.Response(200, stream=Slow())
client = Client(endpoint="http://server/v0", api_token="t", http=httpx.MockTransport(handler))
try:
    client.evaluations.download("a", sys.argv[1])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_ends_a_transfer_at_once(tmp_path, as_in_a_terminal):
    """All files that are on their way end at their next piece, and what has arrived is kept for the next call."""
    arguments = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "out")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert "more" in sure(process.stdout).readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert out.splitlines()[-1] == "interrupted"
    assert err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["out.a.partial"]


def test_slow_transfers_are_reported_in_lines(monkeypatch):
    """A line every few seconds, with files, bytes and rate; none for what takes less."""
    lines: list[str] = []
    count = tally.Lines("upload", 2, 3_000_000, write=lines.append)
    count.add(1_000_000)
    assert lines == []
    now = time.monotonic() + 10
    monkeypatch.setattr(time, "monotonic", lambda: now)
    count.add(1_000_000)
    count.finish_file()
    assert len(lines) == 1
    assert re.fullmatch(r"  upload: 0 of 2 files, 2\.0 MB of 3\.0 MB, \d+\.\d kB/s", lines[0])


class Endless(BaseHTTPRequestHandler):
    """Sends and takes a large file of zeros, a chunk at a time."""

    SIZE = 200_000_000

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(self.SIZE))
        self.end_headers()
        for _ in range(self.SIZE // 1_000_000):
            self.wfile.write(bytes(1_000_000))

    def do_PUT(self):
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1_000_000)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


MEMORY = """
import asyncio, inspect, pathlib, resource, sys
from dyff.sdk import downloads, io, models, uploads, calls
url, folder, way = sys.argv[1], pathlib.Path(sys.argv[2]), io.Blocking() if sys.argv[3] == "Client" else io.Awaited()
async def links():
    return [models.Downlink(artifact=models.Artifact(path="a"), signedURL=models.SignedURL(url=url))]
async def uplink(path):
    return uploads.Uplink(models.SignedURL(url=url, method="PUT"), False)
async def both():
    await downloads.download(way, links, folder / "out", "x", progress=False)
    await uploads.upload(way, {"a": folder / "out" / "a"}, uplink, progress=False)
    await way.close()
way.request("GET", url)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
calls.run(both()) if sys.argv[3] == "Client" else asyncio.run(both())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_does_not_grow_with_the_file(kind, tmp_path):
    """200 MB down and up again cost less than 40 MB of memory."""
    with http_servers.Server(("127.0.0.1", 0), Endless) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/a"
        command = [sys.executable, "-c", MEMORY, url, str(tmp_path), kind.__name__]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        server.shutdown()
        thread.join()
    assert result.stderr == ""
    assert int(result.stdout) < 40


def test_importing_the_sdk_imports_only_what_it_needs():
    """What takes long to import is imported when it is used."""
    code = "import sys, dyff.sdk; print(sorted({'pyarrow', 'litestar', 'apsw', 'jsonpath_ng', 'asyncio', 'pathspec'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("incomplete", [False, True])
async def test_incomplete_outputs_are_asked_for_by_name(connect, tmp_path, incomplete):
    """A download of what a failed evaluation completed says so to the server; the usual one does not."""
    store, asked = Store({"a.parquet": b"a"}), []

    def handler(request):
        if request.url.path.endswith("/downlinks"):
            asked.append(dict(request.url.params))
        return store(request)

    await got(connect(handler).evaluations.download("e" * 32, tmp_path / "out", incomplete=incomplete, progress=False))
    assert (tmp_path / "out" / "a.parquet").read_bytes() == b"a"
    assert asked == [{"incomplete": "true"} if incomplete else {}]
