"""Models on the Hugging Face hub. The hub's own library is used to list a repository and to locate its files.

The bytes are fetched with `dyff.workflows.downloads`, which can resume in another pod. Environment, all optional: `HF_ENDPOINT`
(another hub), `HF_TOKEN_PATH` (a file with a token) or `HF_TOKEN`.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread

# The library reads these when it is imported: no telemetry is sent, and nothing is kept in a home folder, which a pod does not have.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HOME", tempfile.gettempdir())

import huggingface_hub
from huggingface_hub import errors as hub_errors
from huggingface_hub import hf_api
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._paths import filter_repo_objects

from dyff.entities import specs
from dyff.workflows import addresses, downloads, endings
from dyff.workflows.model_trees import File, Listing

_TIMEOUT_S = 30.0
_AT_ONCE = 8
_GIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

# The base class of what the underlying HTTP library raises if there is no answer. Which library that is, is the hub library's business.
_NO_ANSWER: type[BaseException] = hub_errors.HfHubHTTPError.__mro__[1]

T = TypeVar("T")


class Hub:
    """One repository at one revision."""

    def __init__(self, source: specs.HuggingFaceHub) -> None:
        """`source`: that of the model."""
        self._source = source
        self._commit = source.revision
        self._endpoint = os.environ.get("HF_ENDPOINT") or huggingface_hub.constants.ENDPOINT

    @property
    def revision(self) -> str:
        """The requested revision."""
        return self._source.revision

    async def listing(self) -> Listing:
        """Return the files that the patterns select, at the commit that the revision refers to at present.

        Raises:
            Ending: the repository or revision does not exist or may not be read, no file is selected, or the hub does not answer.
        """
        repo_id, revision = self._source.repo_id, self._source.revision
        api = huggingface_hub.HfApi(endpoint=self._endpoint)
        info = await self._ask(lambda: api.model_info(repo_id, revision=revision, files_metadata=True, timeout=_TIMEOUT_S))
        self._commit = info.sha or revision
        allow, ignore = self._source.allow, self._source.ignore
        siblings = list(
            filter_repo_objects(
                info.siblings or [], allow_patterns=allow or None, ignore_patterns=ignore or None, key=lambda each: each.rfilename
            )
        )
        if not siblings:
            raise endings.Ending(
                endings.WRONG_DATA, f"No file of {repo_id} at {revision} is chosen. Fix allowPatterns and ignorePatterns of the source."
            )
        found: dict[str, File] = {}
        limiter = anyio.CapacityLimiter(_AT_ONCE)

        async def look(sibling: hf_api.RepoSibling) -> None:
            async with limiter:
                found[sibling.rfilename] = _file(sibling) or await self._look(sibling.rfilename)

        async with anyio.create_task_group() as tasks:
            for sibling in siblings:
                tasks.start_soon(look, sibling)
        return Listing(self._commit, tuple(found[name] for name in sorted(found)))

    async def bring(self, file: File, to: downloads.Downloads) -> dict[str, str]:
        """Store a file; returns its digests."""
        headers = build_hf_headers()
        headers = {name: value for name, value in headers.items() if name.lower() in ("authorization", "user-agent")}

        async def locate() -> downloads.Location:
            return downloads.Location(self._url(file.path), headers)

        return await to.fetch(file, locate)

    def _url(self, path: str) -> str:
        return huggingface_hub.hf_hub_url(self._source.repo_id, path, revision=self._commit, endpoint=self._endpoint)

    async def _look(self, path: str) -> File:
        """Request the metadata of a single file, if the list says too little. Hubs other than the original one do that."""
        meta = await self._ask(lambda: huggingface_hub.get_hf_file_metadata(self._url(path), timeout=_TIMEOUT_S))
        if meta.size is None or not meta.etag:
            raise endings.Ending(endings.WRONG_DATA, f"The hub does not say how large {path} is, or what its digest is.")
        return _named(path, meta.etag, meta.size)

    async def _ask(self, question: Callable[[], T]) -> T:
        """Call the library, which blocks, in a thread. The call is abandoned if the step is cancelled."""
        try:
            with addresses.guarded(f"{self._endpoint} or what it leads to"):
                return await anyio.to_thread.run_sync(question, abandon_on_cancel=True)
        except hub_errors.HFValidationError as error:
            raise endings.Ending(endings.WRONG_DATA, f"source.huggingFaceHub.repoID is wrong: {error}") from error
        except hub_errors.GatedRepoError as error:
            raise endings.Ending(
                endings.WRONG_DATA,
                f"{self._source.repo_id} may be read only by those who accepted its terms. Ask an administrator to name the file of a "
                f"token that may, by the setting operator.fetch_env.HF_TOKEN_PATH.",
            ) from error
        except hub_errors.RepositoryNotFoundError as error:
            raise endings.Ending(
                endings.WRONG_DATA,
                f"The hub has no model {self._source.repo_id}, or it is private. Fix source.huggingFaceHub.repoID; a private one needs "
                f"the setting operator.fetch_env.HF_TOKEN_PATH.",
            ) from error
        except hub_errors.RevisionNotFoundError as error:
            raise endings.Ending(
                endings.WRONG_DATA,
                f"{self._source.repo_id} has no revision {self._source.revision}. Fix source.huggingFaceHub.revision.",
            ) from error
        except _NO_ANSWER as error:
            raise self._unanswered(error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise endings.Ending(
                endings.WRONG_DATA,
                f"{self._endpoint} does not speak the protocol of the Hugging Face hub ({type(error).__name__}: {error}). "
                f"Fix the setting operator.fetch_env.HF_ENDPOINT.",
            ) from error

    def _unanswered(self, error: BaseException) -> endings.Ending:
        code = getattr(getattr(error, "response", None), "status_code", None)
        if code is not None and 400 <= code < 500 and code not in (408, 429):
            return endings.Ending(
                endings.WRONG_DATA, f"The hub refuses {self._source.repo_id}: it answers {code}. Fix source.huggingFaceHub."
            )
        why = f"answers {code}" if code is not None else f"does not answer ({type(error).__name__})"
        return endings.Ending(endings.TRY_AGAIN, f"The hub at {self._endpoint} {why}. Create the model again later.")


def _file(sibling: hf_api.RepoSibling) -> File | None:
    """The file from the list; None if the list does not say enough."""
    if sibling.lfs is not None:
        return File(sibling.rfilename, sibling.lfs.sha256, sibling.lfs.size, sha256=sibling.lfs.sha256)
    if sibling.size is None or not sibling.blob_id:
        return None
    return _named(sibling.rfilename, sibling.blob_id, sibling.size)


def _named(path: str, etag: str, size_bytes: int) -> File:
    """A small file's ETag is its Git SHA-1, a large one's its SHA-256. Any other identifies the file, but cannot verify its bytes."""
    if _SHA256.fullmatch(etag):
        return File(path, etag, size_bytes, sha256=etag)
    if _GIT.fullmatch(etag):
        return File(path, etag, size_bytes, git_sha1=etag)
    return File(path, hashlib.sha256(f"{path}\0{etag}".encode()).hexdigest(), size_bytes)
