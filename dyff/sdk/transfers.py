"""Files to and from signed URLs: in parallel, each checked against its digest."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import httpx

from dyff.kernel import backoff
from dyff.sdk import errors, models, transport

PARALLEL = 4
CHUNK_BYTES = 1 << 20
RETRIES = 4


def md5_of(path: Path) -> str:
    """The base64 MD5 of a file, as the API carries digests."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return base64.b64encode(digest.digest()).decode()


def in_parallel(tasks: Iterable[Callable[[], None]]) -> None:
    """Run all; the first failure is raised when those that had begun have ended."""
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="dyff-transfer") as pool:
        for done in [pool.submit(task) for task in tasks]:
            try:
                done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def upload(client: httpx.Client, path: Path, target: models.SignedURL) -> None:
    """PUT a file, again where the connection breaks.

    Raises:
        ApiError: the store refused the bytes.
        ServerUnreachable: the connection broke too often.
    """
    headers = {"Content-Length": str(path.stat().st_size), **target.headers}

    def once() -> None:
        with path.open("rb") as file:
            answer = client.put(target.url, content=iter(lambda: file.read(CHUNK_BYTES), b""), headers=headers)
        if not answer.is_success:
            raise errors.from_answer(answer.status_code, transport.detail_of(answer), _without_signature(target.url))

    _persistently(once, f"upload of {path.name}")


def download(client: httpx.Client, links: Sequence[models.Downlink], destination: Path) -> None:
    """GET all artifacts into a new directory; it appears under its name only when everything is there and right.

    Raises:
        FileExistsError: the destination is there already.
        TransferFailed: an artifact's bytes do not have its digest, or its path leaves the destination.
    """
    if destination.exists():
        raise FileExistsError(f"{destination} is there already; choose a new directory")
    partial = destination.with_name(destination.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    in_parallel([lambda link=link: _download_one(client, link, partial) for link in links])  # type: ignore[misc]
    partial.rename(destination)


def _download_one(client: httpx.Client, link: models.Downlink, folder: Path) -> None:
    relative = PurePosixPath(link.artifact.path)
    if relative.is_absolute() or ".." in relative.parts:
        raise errors.TransferFailed(f"the artifact path {link.artifact.path!r} leaves the destination")
    target = folder / relative
    wanted = link.artifact.digest.md5
    if target.exists() and wanted is not None and md5_of(target) == wanted:
        return  # an earlier download that was cut off had got this far
    target.parent.mkdir(parents=True, exist_ok=True)

    def once() -> None:
        with client.stream(link.signedURL.method, link.signedURL.url, headers=link.signedURL.headers) as answer:
            if not answer.is_success:
                answer.read()
                raise errors.from_answer(answer.status_code, transport.detail_of(answer), _without_signature(link.signedURL.url))
            with target.open("wb") as file:
                for chunk in answer.iter_raw(CHUNK_BYTES):
                    file.write(chunk)

    _persistently(once, f"download of {link.artifact.path}")
    if wanted is not None and md5_of(target) != wanted:
        raise errors.TransferFailed(f"{link.artifact.path}: the bytes that arrived do not have the promised digest")


def _persistently(once: Callable[[], None], what: str) -> None:
    for delay in _delays_then_none():
        try:
            return once()
        except httpx.TransportError as error:
            if delay is None:
                raise errors.ServerUnreachable(f"the {what} broke off: {error}") from error
            time.sleep(delay)
    return None


def _delays_then_none() -> Iterator[float | None]:
    waits = backoff.delays(0.25)
    for _ in range(RETRIES):
        yield next(waits)
    yield None


def _without_signature(url: str) -> str:
    return url.partition("?")[0]
