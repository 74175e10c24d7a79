"""Models in Git repositories with large files: `git` fetches the tip of the history, and large files come over the Git LFS protocol.

Nothing is checked out, so no name, link, hook, filter or submodule of the repository can do any harm: trees and blobs are
only read as data. Neither `.lfsconfig` nor any configuration of this machine is read.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import msgspec

from dyff.entities import specs
from dyff.objects.manifests import Link
from dyff.workflows import downloads, endings, git_command
from dyff.workflows.model_trees import File, Listing

_POINTER_BYTES = 1024
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n?(?:[^\n]*\n)*"
)
_ENTRY = re.compile(rb"([0-9]{6}) ([a-z]+) ([0-9a-f]{40}|[0-9a-f]{64}) +([0-9]+|-)\t(.+)", re.DOTALL)
_MEDIA = "application/vnd.git-lfs+json"
_LINK, _MODULE = b"120000", b"160000"
_MAX_LINK_BYTES = 1024
_FINAL = ("not found", "could not read Username", "Authentication failed", "error: 403", "not allowed", "not a git")
"""Parts of git's messages for errors that a retry will not fix. They are matched against the message without its URLs."""

_URL = re.compile(r"'?\w+://[^\s']*'?")
_CLONE_S = 1800.0
_LOOK_S = 0.5


class _Action(msgspec.Struct, frozen=True):
    href: str
    header: dict[str, str] | None = None


class _Actions(msgspec.Struct, frozen=True):
    download: _Action | None = None


class _Error(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Object(msgspec.Struct, frozen=True):
    oid: str
    actions: _Actions | None = None
    error: _Error | None = None


class _Batch(msgspec.Struct, frozen=True):
    objects: list[_Object]


class Repository:
    """A clone without a work tree, in a temporary directory. Use `cloned`."""

    revision: str | None = None

    def __init__(self, url: str, directory: Path, limit_bytes: int | None) -> None:
        """`limit_bytes`: the largest size of the clone, or None for no limit."""
        self._url, self._directory, self._limit_bytes = url, directory, limit_bytes

    async def listing(self) -> Listing:
        """Clone the repository; returns the files and links at the tip of the default branch.

        Raises:
            Ending: it cannot be cloned or read, or it has no files.
        """
        await self._clone()
        commit = (await self._git("rev-parse", "--verify", "HEAD^{commit}")).decode().strip()
        files, links = list[File](), list[Link]()
        for entry in (await self._git("ls-tree", "-r", "-z", "--long", "--full-tree", commit)).split(b"\0"):
            match = _ENTRY.fullmatch(entry)
            if match is None:
                continue
            mode, _, sha, size, name = match.groups()
            path = name.decode(errors="surrogateescape")
            if mode == _MODULE:
                endings.say(f"{path!a} is a submodule, which is left out")
            elif mode == _LINK:
                if int(size) > _MAX_LINK_BYTES:
                    raise endings.Ending(endings.WRONG_DATA, f"The symbolic link {path!a} is too long.")
                links.append(Link(path, (await self._blob(sha)).decode(errors="surrogateescape")))
            else:
                files.append(await self._file(path, sha, int(size)))
        if not files:
            raise endings.Ending(endings.WRONG_DATA, f"The repository {self._shown} has no files.")
        return Listing(commit, tuple(files), tuple(links))

    async def bring(self, file: File, to: downloads.Downloads) -> dict[str, str]:
        """Store a file: from the clone, or from the LFS server if it is a large file."""
        if file.sha256 is None:
            return await to.store(file, lambda: self._pieces(file.blob))
        return await to.fetch(file, lambda: self._locate(file))

    async def _file(self, path: str, sha: bytes, size_bytes: int) -> File:
        name = sha.decode()
        if size_bytes <= _POINTER_BYTES and (match := _POINTER.fullmatch(await self._blob(sha))):
            return File(path, match[1].decode(), int(match[2]), sha256=match[1].decode())
        return File(path, name, size_bytes, git_sha1=name if len(name) == 40 else None)

    async def _clone(self) -> None:
        """Clone with a limit of time and size, because the server is not trusted."""
        url = await git_command.led_to(self._url)
        options = ("clone", "--quiet", "--bare", "--depth", "1", "--single-branch", "--no-tags", "--template=")
        command = git_command.command(*options, settings=await git_command.pinned(url))
        log = self._directory / "log"
        with log.open("wb") as out:
            process = await anyio.open_process(
                [*command, "--", url, str(self._directory / "clone")],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=git_command.environment(self._directory), start_new_session=True,
            )  # fmt: skip
        try:
            with anyio.fail_after(_CLONE_S):
                while process.returncode is None:
                    with anyio.move_on_after(_LOOK_S):
                        await process.wait()
                    self._check_size()
        except TimeoutError as error:
            raise endings.Ending(endings.TRY_AGAIN, f"{self._shown} could not be cloned within {_CLONE_S:g} s. Try again.") from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            with anyio.CancelScope(shield=True):
                await process.aclose()
        if process.returncode != 0:
            raise self._refused(log.read_text(errors="replace"))

    def _check_size(self) -> None:
        if self._limit_bytes is None:
            return
        size_bytes = 0
        for file in self._directory.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                size_bytes += file.lstat().st_size
        if size_bytes > self._limit_bytes:
            raise endings.Ending(
                endings.WRONG_DATA,
                f"The repository {self._shown} has more than the {self._limit_bytes} bytes of resources.storage. Ask for more.",
            )

    def _refused(self, log: str) -> endings.Ending:
        lines = [line for line in log.strip().splitlines() if line.startswith(("fatal:", "error:"))] or ["git says nothing"]
        said = " ".join(lines)
        words = re.sub(r"://[^/\s@]*@", "://", said)[:500]
        if self._is_final(said):
            return endings.Ending(
                endings.WRONG_DATA,
                f"{self._shown} cannot be cloned: {words}. Correct source.gitLFS.url; it must need no password.",
            )
        return endings.Ending(endings.TRY_AGAIN, f"{self._shown} cannot be cloned: {words}. Create the model again later.")

    def _is_final(self, said: str) -> bool:
        """Whether git's message says that a retry is useless. URLs are removed first, because they can contain any words and digits."""
        for url in (self._url, git_command.without_user(self._url)):
            said = said.replace(url, "")
        said = _URL.sub("", said)  # other URLs, after redirects
        return any(each in said for each in _FINAL)

    async def _git(self, *arguments: str) -> bytes:
        command = git_command.command("--git-dir", str(self._directory / "clone"), *arguments)
        done = await anyio.run_process(command, env=git_command.environment(self._directory), check=False)
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip()[:300]
            raise endings.Ending(endings.WRONG_DATA, f"The repository {self._shown} cannot be read: {words}")
        return done.stdout

    async def _blob(self, sha: bytes) -> bytes:
        return await self._git("cat-file", "blob", sha.decode())

    async def _pieces(self, sha: str) -> AsyncIterator[bytes]:
        """Stream a file of the clone, which may be large."""
        command = git_command.command("--git-dir", str(self._directory / "clone"), "cat-file", "blob", sha)
        async with await anyio.open_process(command, env=git_command.environment(self._directory), stderr=subprocess.DEVNULL) as process:
            if process.stdout is not None:
                async for piece in process.stdout:
                    yield piece

    async def _locate(self, file: File) -> downloads.Location:
        """Request the location of one object from the LFS server. Its URLs expire, so each is requested only when it is needed."""
        question = {
            "operation": "download",
            "transfers": ["basic"],
            "objects": [{"oid": file.blob, "size": file.size_bytes}],
            "hash_algo": "sha256",
        }
        headers = {"Accept": _MEDIA, "Content-Type": _MEDIA}
        async with downloads.client() as http:
            answer = await http.post(_lfs_url(self._url), content=msgspec.json.encode(question), headers=headers)
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise downloads.Again(f"the LFS server answers {answer.status_code}")
        if answer.status_code != 200:
            raise endings.Ending(
                endings.WRONG_DATA, f"The LFS server of {self._shown} answers {answer.status_code}. Correct source.gitLFS.url."
            )
        try:
            found = {each.oid: each for each in msgspec.json.decode(answer.content, type=_Batch).objects}.get(file.blob)
        except msgspec.DecodeError as error:
            raise endings.Ending(endings.WRONG_DATA, f"The LFS server of {self._shown} does not speak its protocol: {error}") from error
        action = found.actions.download if found and found.actions else None
        if action is None:
            why = f": {found.error.code} {found.error.message[:200]}" if found and found.error else ""
            raise endings.Ending(endings.WRONG_DATA, f"The LFS server has no bytes of {file.path}{why}. Upload them to it.")
        if urlsplit(action.href).scheme not in ("http", "https"):
            raise endings.Ending(endings.WRONG_DATA, f"The LFS server gives {file.path} at a URL that is neither http nor https.")
        return downloads.Location(action.href, action.header or {})

    @property
    def _shown(self) -> str:
        return git_command.shown(self._url)


@contextlib.asynccontextmanager
async def cloned(source: specs.GitLFS, limit_bytes: int | None) -> AsyncIterator[Repository]:
    """Yield a repository to read from, until the end of the block.

    Raises:
        Ending: the URL is not allowed, or `git` is not installed.
    """
    if urlsplit(source.url).scheme not in ("http", "https"):
        raise endings.Ending(
            endings.WRONG_DATA, f"{git_command.shown(source.url)} cannot be fetched: source.gitLFS.url must be https or http."
        )
    hosts = git_command.allowed_hosts()
    if hosts is not None and (urlsplit(source.url).hostname or "") not in hosts:
        raise endings.Ending(
            endings.WRONG_DATA, f"{git_command.shown(source.url)} is not fetched: source.gitLFS.url must be on one of {', '.join(hosts)}."
        )
    if shutil.which("git") is None:
        raise endings.Ending(endings.MISCONFIGURED, "Models from Git need the program git in the steps image. Ask for it to be installed.")
    await git_command.check()
    with tempfile.TemporaryDirectory(prefix="fetch-model-", ignore_cleanup_errors=True) as directory:
        yield Repository(source.url, Path(directory), limit_bytes)


def _lfs_url(url: str) -> str:
    """The URL of the LFS server, which Git LFS derives from that of the repository, with a name that ends in `.git`."""
    bare = url.rstrip("/")
    return f"{bare if bare.endswith('.git') else bare + '.git'}/info/lfs/objects/batch"
