"""Files of an entity: which were declared, whether they have arrived, and the links from which users fetch them."""

from __future__ import annotations

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
        WrongStatus: they are closed. The published client looks for the word `WaitingForUpload` in the message, and then tries again.
    """
    require_open(entity["status"], entity.get("reason"))


def require_open(status: str, reason: str | None) -> None:
    """Like `require_uploading`, for an entity of which only this is known."""
    if status != statuses.WAITING_FOR_UPLOAD:
        raise errors.WrongStatus(f"files can be uploaded only while the status is WaitingForUpload; it is {status}")
    if reason == statuses.FINALIZING:
        raise errors.WrongStatus(
            "the upload was finalized, so its files can no longer be changed; to upload other files, create a new entity"
        )


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


async def collect(services: Services, prefixes: Sequence[str], wanted: Iterable[kind.DeclaredFile]) -> manifests.Manifest:
    """Return where the declared files are, after checking that each has arrived as it was declared, as far as the store knows.

    `prefixes`: where they can be; the first one that has a file counts.

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
            stored = await _stored(services, prefixes, each)
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


async def _stored(services: Services, prefixes: Sequence[str], wanted: kind.DeclaredFile) -> Artifact | None:
    for prefix in prefixes:
        info = await services.objects.head(prefix + wanted.path)
        if info is not None:
            break
    else:
        return None
    if info.md5 not in (None, wanted.md5):
        raise errors.DigestMismatch(f"{wanted.path!r} has the MD5 digest {info.md5}, but {wanted.md5} was declared: upload it again")
    if wanted.size is not None and info.size_bytes != wanted.size:
        raise errors.DigestMismatch(f"{wanted.path!r} has {info.size_bytes} bytes, but {wanted.size} were declared: upload it again")
    return Artifact(path=wanted.path, key=info.key, size=info.size_bytes, digest={"md5": wanted.md5}, kind=wanted.kind)


async def links(services: Services, manifest: manifests.Manifest, base: str | None) -> list[codecs.Json]:
    """Return the files in the published form: `[{"artifact": {...}, "signedURL": {...}}]`. The URLs give those bytes and no others.

    Of the digests it has only the MD5, because the published client refuses answers with others. `base`: see `Services.reachable`.
    """
    listed = []
    for each in manifest.artifacts:
        url = await services.objects.sign("GET", each.key, expires_s=URL_LIFE_S, md5=each.digest.get("md5"))
        digest = {name: value for name, value in each.digest.items() if name == "md5"}
        artifact = {"path": each.path, "digest": digest, **({"kind": each.kind} if each.kind is not None else {})}
        listed.append({"artifact": artifact, "signedURL": msgspec.to_builtins(services.reachable(url, base))})
    return listed
