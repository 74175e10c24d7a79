"""Files of an entity: which were declared, whether they have arrived, and the links from which users fetch them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence

import anyio
import msgspec

from dyff.api.services import Services
from dyff.entities import codecs, kind, statuses
from dyff.kernel import errors, suggestions
from dyff.objects import manifests
from dyff.objects.manifests import Artifact

URL_LIFE_S = 3600.0
MAX_UPLOAD_BYTES = 5 * 2**30
"""For a file whose size was not declared. It is the most that S3 accepts in one request."""

_HEADS_AT_ONCE = 32


def require_uploading(entity: codecs.Json) -> None:
    """Check that uploads are open.

    Raises:
        WrongStatus: they are closed. The published client looks for the word `WaitingForUpload` in the message.
    """
    if entity["status"] != statuses.WAITING_FOR_UPLOAD:
        raise errors.WrongStatus(f"files can be uploaded only while the status is WaitingForUpload; it is {entity['status']}")


def the_declared(entity: codecs.Json, known: Sequence[kind.DeclaredFile], path: str) -> kind.DeclaredFile:
    """Return the declared file at `path`.

    Raises:
        FixRequest: no file was declared there.
    """
    for each in known:
        if each.path == path:
            return each
    near = suggestions.nearest(path, (each.path for each in known))
    fix = "" if near is None else f"; did you mean {near!r}?"
    raise errors.FixRequest(f"{path[:200]!r} is none of the files that {entity['id']} was created with{fix}")


async def collect(services: Services, root: str, wanted: Iterable[kind.DeclaredFile]) -> manifests.Manifest:
    """Return the manifest of the declared files below `root`, after checking that each has arrived as it was declared.

    Raises:
        FixRequest: some have not arrived; the message names them.
        DigestMismatch: the bytes of one are not those that were declared.
    """
    found: dict[str, Artifact] = {}
    missing: list[str] = []
    several = list(wanted)
    limit = anyio.CapacityLimiter(_HEADS_AT_ONCE)

    async def look(each: kind.DeclaredFile) -> None:
        async with limit:
            stored = await _stored(services, root, each)
        if stored is None:
            missing.append(each.path)
        else:
            found[each.path] = stored

    try:
        async with anyio.create_task_group() as group:
            for each in several:
                group.start_soon(look, each)
    except ExceptionGroup as errors_of_files:
        raise errors_of_files.exceptions[0] from errors_of_files
    if missing:
        shown = ", ".join(repr(path) for path in sorted(missing)[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise errors.FixRequest(f"not all files were uploaded: {shown} missing")
    return manifests.Manifest(artifacts=tuple(found[each.path] for each in several))


async def _stored(services: Services, root: str, wanted: kind.DeclaredFile) -> Artifact | None:
    key = root + wanted.path
    info = await services.objects.head(key)
    if info is None:
        return None
    md5 = info.md5 if info.md5 is not None else await _hash(services, key)
    if md5 != wanted.md5:
        raise errors.DigestMismatch(f"{wanted.path!r} has the MD5 digest {md5}, but {wanted.md5} was declared: upload it again")
    if wanted.size is not None and info.size_bytes != wanted.size:
        raise errors.DigestMismatch(f"{wanted.path!r} has {info.size_bytes} bytes, but {wanted.size} were declared")
    return Artifact(path=wanted.path, key=key, size=info.size_bytes, digest={"md5": md5}, kind=wanted.kind)


async def _hash(services: Services, key: str) -> str:
    """Compute the MD5 digest of an object, for a store that does not keep it."""
    digest = hashlib.md5(usedforsecurity=False)
    async for piece in services.objects.stream(key):
        digest.update(piece)
    return base64.b64encode(digest.digest()).decode()


async def links(services: Services, manifest: manifests.Manifest) -> list[codecs.Json]:
    """Return the files in the published form: `[{"artifact": {...}, "signedURL": {...}}]`."""
    listed = []
    for each in manifest.artifacts:
        url = await services.objects.sign("GET", each.key, expires_s=URL_LIFE_S)
        artifact = {"path": each.path, "digest": each.digest, **({"kind": each.kind} if each.kind is not None else {})}
        listed.append({"artifact": artifact, "signedURL": msgspec.to_builtins(url)})
    return listed
