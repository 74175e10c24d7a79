"""Data in requests: files with their digests, schemas, adapters and views."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from dyff.entities import codecs, described
from dyff.entities.identity import Few, Many, Part, Short, Text

_MD5_BYTES = 16
_IN_PATHS = r"""[^\\#?%<>:"|*/\x00-\x1f\x7f-\x9f]"""
_ENDS_PATHS = r"""[^\\#?%<>:"|*/\x00-\x1f\x7f-\x9f .]"""
_SEGMENT = f"{_IN_PATHS}*{_ENDS_PATHS}"

EXAMPLE_SCHEMA = (
    "/////7AAAAAQAAAAAAAKAAwABgAFAAgACgAAAAABBAAMAAAACAAIAAAABAAIAAAABAAAAAIAAABEAAAABAAAANT///8AAAEFEAAAABwAAAAEAAAAAAAAAAQAAAB0ZXh0AAAA"
    "AAQABAAEAAAAEAAUAAgABgAHAAwAAAAQABAAAAAAAAECEAAAACAAAAAEAAAAAAAAAAcAAABfaW5kZXhfAAgADAAIAAcACAAAAAAAAAFAAAAAAAAAAA=="
)
"""The Arrow schema of rows with the columns `_index_` (int64) and `text` (string), for examples."""

FilePath = Annotated[
    Text,
    described.says(
        pattern=f"^{_SEGMENT}(/{_SEGMENT})*$",
        description="a relative path of a file, not below .dyff/, without names that Windows reserves; a segment has at most 255 bytes",
    ),
]
"""The rules for it are in `dyff.objects.layout`."""

_SHORT_PATH: codecs.Json = {"properties": {"path": {"maxLength": 900}}}


class Digest(Part, frozen=True):
    """Digests of a file's bytes. `md5`: in base64, not in hex."""

    md5: Annotated[Short, described.says(pattern="^[A-Za-z0-9+/]{22}==$")] | None = None

    def __post_init__(self) -> None:
        """Refuse anything that is not a digest, hex in particular, before any upload starts."""
        if self.md5 is None:
            return
        try:
            size = len(base64.b64decode(self.md5, validate=True))
        except (binascii.Error, ValueError):
            size = 0
        if size != _MD5_BYTES:
            raise ValueError(f"md5 must be the base64 of the {_MD5_BYTES} bytes of an MD5 digest (not hex)")


class Artifact(Part, frozen=True):
    """A file of a dataset or module."""

    rules: ClassVar[codecs.Json] = _SHORT_PATH

    path: FilePath
    kind: Short | None = None
    digest: Digest = Digest()


WITH_DIGEST: codecs.Json = {
    "required": ["path", "digest"],
    "properties": {"digest": {"required": ["md5"], "properties": {"md5": {"type": "string"}}}},
}
"""The rule that `require_digests` checks, of a file."""


class File(Part, frozen=True):
    """A file of a volume. `size`: in bytes."""

    rules: ClassVar[codecs.Json] = _SHORT_PATH

    path: FilePath
    size: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    mediaType: Short | None = None
    digest: Digest = Digest()


class Volume(Part, frozen=True):
    """A tree of files."""

    files: Many[File]


class SchemaAdapter(Part, frozen=True):
    """A step of a pipeline that transforms JSON objects. `configuration`: free-form JSON, interpreted according to the kind."""

    kind: Short
    configuration: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Free JSON has a bound like everything else."""
        require_small(self.configuration, "configuration")


class DyffDataSchema(Part, frozen=True):
    """A schema composed of known components, by name."""

    components: Annotated[tuple[Short, ...], msgspec.Meta(min_length=1, max_length=100)]
    schemaVersion: Literal["0.1"] = "0.1"


MAX_SENT_SCHEMA_CHARS = 4 * 2**20
"""The limit for an Arrow schema in a request, in base64. Those of Hugging Face have up to a megabyte of metadata, which is dropped."""

MAX_SCHEMA_CHARS = 2**20
"""The limit for what is stored of it."""


class DataSchema(Part, frozen=True):
    """A schema. `arrowSchema`: base64 of the serialised Arrow schema; the API checks its contents, and drops large metadata."""

    arrowSchema: Annotated[
        str, msgspec.Meta(max_length=MAX_SENT_SCHEMA_CHARS), described.says(format="arrow-schema", examples=[EXAMPLE_SCHEMA])
    ]
    dyffSchema: DyffDataSchema | None = None
    jsonSchema: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Free JSON has a bound like everything else."""
        require_small(self.jsonSchema, "jsonSchema")


class DataView(Part, frozen=True):
    """A view of data through a pipeline."""

    id: Short
    viewOf: Short
    schema: DataSchema
    adapterPipeline: Few[SchemaAdapter] | None = None


MAX_FREE_JSON_BYTES = 2**20
"""Limit of a field that holds free JSON. A custom resource takes as much in a string."""


def require_small(value: dict[str, Any] | None, field: str) -> None:
    """Refuse free JSON that is too large.

    Raises:
        ValueError: it has more bytes than the limit; the message names `field`.
    """
    if value is not None and (size := len(codecs.encode(value))) > MAX_FREE_JSON_BYTES:
        raise ValueError(f"{field} must have at most {MAX_FREE_JSON_BYTES} bytes as JSON; it has {size}")


def require_digests(paths: Iterable[tuple[str, Digest]], field: str) -> None:
    """Refuse files without a digest: they could never be uploaded, because there is nothing to verify them against.

    Raises:
        ValueError: a file has no digest; the message names `field` and the path.
    """
    for path, digest in paths:
        if digest.md5 is None:
            raise ValueError(f"{field}: {path!r} needs digest.md5 (base64), which the upload is checked against")
