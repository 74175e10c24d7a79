"""A program, not a library: `python -I -m dyff.api.samples.program` reads samples from untrusted Parquet files.

It runs in a process of its own, because untrusted bytes can crash the reader or make it use unbounded memory and time. Each request
is a frame (`dyff.api.bounded`) and is answered by a fork of this process, within limits of its own: so nothing of one request is left
when the next one comes, and Arrow is imported once. Of a file, it asks for the bytes that it needs (`asked.Read`), and gets a frame
of these; one that is too short is a file that is gone. See `dyff.api.samples.asking`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys

if __name__ == "__main__":
    sys.modules["numpy"] = None  # type: ignore[assignment]  # Arrow works without it, and importing it takes half of the start-up time

import msgspec

from dyff.api import bounded
from dyff.api.samples import asked, pages, remote

_PIPE_BYTES = 2**20
"""So that most reads are one step."""

_REQUEST = msgspec.json.Decoder(asked.Request)


def main() -> None:
    """Answer requests until the input ends."""
    bounded.limit()
    with contextlib.suppress(OSError):
        fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    _write(b"ready")
    while (length := _exactly(4)) is not None:
        request = _exactly(int.from_bytes(length, "big"))
        if request is None:
            return
        child = os.fork()
        if child == 0:
            _answer(request)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            _write(msgspec.json.encode(asked.Failed("reading them takes more memory or time than is allowed")))


def _answer(request: bytes) -> None:
    found: asked.Answer
    try:
        wanted = _REQUEST.decode(request)
        try:
            found = pages.answered(wanted, remote.Files(_read))
        except MemoryError:  # Arrow's is one, too
            found = pages.answered(wanted, remote.Files(_read, careful=True))
    except Exception as error:  # of whatever kind: hostile bytes are no Parquet file
        reason = str(error).partition("\n")[0][:300] or type(error).__name__
        found = asked.Failed(f"a file cannot be read: {reason}")
    _write(msgspec.json.encode(found))


def _read(file: int, start: int, end: int) -> bytes:
    _write(msgspec.json.encode(asked.Read(file, start, end)))
    length = _exactly(4)
    data = None if length is None else _exactly(int.from_bytes(length, "big"))
    if data is None:
        os._exit(0)  # the server is gone
    return data


def _exactly(size: int) -> bytes | None:
    """Bytes of the standard input, and no more: the rest may be for another process. None at its end."""
    pieces: list[bytes] = []
    while size:
        piece = os.read(0, min(size, 2**20))
        if not piece:
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _write(line: bytes) -> None:
    data = memoryview(line + b"\n")
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
