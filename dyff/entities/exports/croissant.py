"""A dataset as Croissant 1.1 describes it (JSON-LD of MLCommons). Pure.

Nothing is invented: a licence, a citation, a creator and a date of publication, which Croissant recommends, are not known to the platform.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from dyff.entities import codecs
from dyff.entities.exports import addresses

VERSION = "http://mlcommons.org/croissant/1.1"
PARQUET = "application/x-parquet"
UNKNOWN_FORMAT = "application/octet-stream"
ROWS = "rows"
"""The record set of all rows; with several files, `rows/` and the path of a file for those of one."""

MAX_DESCRIBED = 10_000
"""Limit of the fields of all record sets together. With more, there is one record set, of the files in a folder."""

ACCESS = (
    "The address of each file needs a token of the platform that allows to download the dataset: as 'Authorization: Bearer TOKEN', or as"
    " the password of HTTP Basic with any user name. It redirects to the bytes. 'dyff download dataset {id} DIR' fetches all files."
)

CONTEXT: codecs.Json = {
    "@language": "en", "@vocab": "https://schema.org/", "arrayShape": "cr:arrayShape", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "containedIn": "cr:containedIn", "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"}, "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field", "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty", "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes", "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5", "name": {"@container": "@language"},
    "parentField": "cr:parentField", "path": "cr:path", "rai": "http://mlcommons.org/croissant/RAI/", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "samplingRate": "cr:samplingRate", "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source",
    "subField": "cr:subField", "transform": "cr:transform",
}  # fmt: skip
"""The context that Croissant 1.1 prescribes."""


class File(msgspec.Struct, frozen=True):
    """A file of the manifest. `size`: in bytes. `digest`: as in a manifest (`dyff.objects.manifests.Artifact`)."""

    path: str
    size: int
    digest: dict[str, str]


def document(dataset: codecs.Json, files: Sequence[File], columns: Sequence[codecs.Json], *, base: str, digest: str | None) -> codecs.Json:
    """The JSON-LD. `columns`: as `dyff.adapters.croissant_fields` describes them. `base`: the URL of the API. `digest`: of the manifest.

    None if that is not known.
    """
    texts = (dataset.get("metadata") or {}).get("documentation") or {}
    own = addresses.entity(base, "datasets", dataset["id"])
    parquet = [each for each in files if each.path.endswith(".parquet")]
    in_paths = sorted({name for each in parquet for name in _path_columns(each.path)} & {each["name"] for each in columns})
    in_files = [each for each in columns if each["name"] not in in_paths]
    found: codecs.Json = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": texts.get("title") or dataset["name"],
        "description": _description(texts, dataset, in_paths),
        "url": own,
        "identifier": [_identifier("Dyff dataset", dataset["id"]), *([_identifier("SHA-256 of the manifest", digest)] if digest else [])],
        "subjectOf": addresses.manifest(base, "datasets", dataset["id"]),
        "conditionsOfAccess": ACCESS.format(id=dataset["id"]),
        "distribution": [_file(each, dataset["id"], base) for each in files],
    }
    if dataset.get("creationTime"):
        found["dateCreated"] = dataset["creationTime"]
    if parquet and in_files:
        record_sets, further = _record_sets(parquet, in_files)
        found["distribution"] += further
        found["recordSet"] = record_sets
    return found


def _description(texts: codecs.Json, dataset: codecs.Json, in_paths: Sequence[str]) -> str:
    text = texts.get("summary") or texts.get("fullPage") or f"The dataset {dataset['name']} of the platform Dyff."
    if not in_paths:
        return text
    listed = ", ".join(in_paths)
    return f"{text} The values of {listed} are not in the files, but in their paths, as NAME=VALUE."


def _path_columns(path: str) -> Iterator[str]:
    """The columns whose values are in folders of a path (`dyff.adapters.partitions`)."""
    for folder in path.split("/")[:-1]:
        name, equals, _ = folder.partition("=")
        if equals and name:
            yield name


def _identifier(what: str, value: str) -> codecs.Json:
    return {"@type": "sc:PropertyValue", "propertyID": what, "value": value}


def _file(each: File, dataset_id: str, base: str) -> codecs.Json:
    return {
        "@type": "cr:FileObject",
        "@id": file_id(each.path),
        "name": each.path,
        "contentUrl": addresses.file(base, "datasets", dataset_id, each.path),
        "contentSize": f"{each.size} B",
        "encodingFormat": PARQUET if each.path.endswith(".parquet") else UNKNOWN_FORMAT,
        **_digest(each),
    }


def file_id(path: str) -> str:
    """The ID of a file in the document."""
    return f"files/{quote(path)}"


def _digest(each: File) -> codecs.Json:
    """One digest: the MD5 (hex) only for files of older releases, of which nothing else is recorded."""
    if "sha256" in each.digest:
        return {"sha256": each.digest["sha256"]}
    try:
        return {"md5": base64.b64decode(each.digest["md5"], validate=True).hex()}
    except (KeyError, binascii.Error, ValueError):
        return {}


def _record_sets(files: Sequence[File], columns: Sequence[codecs.Json]) -> tuple[list[codecs.Json], list[codecs.Json]]:
    """The record sets, and what the distribution must have in addition.

    A record set reads one file: readers cannot join files that are no archive. They would have to repeat the fields for each file.
    """
    if len(files) == 1:
        return [_record_set(ROWS, {"fileObject": {"@id": file_id(files[0].path)}}, columns)], []
    if len(files) * _count(columns) <= MAX_DESCRIBED:
        return [_record_set(f"{ROWS}/{quote(each.path)}", {"fileObject": {"@id": file_id(each.path)}}, columns) for each in files], []
    folder = {"@type": "cr:FileSet", "@id": "files", "name": "files", "encodingFormat": PARQUET, "includes": "*.parquet"}
    folder["description"] = "The files in the folder of this document, in which 'dyff download' has put them."
    return [_record_set(ROWS, {"fileSet": {"@id": "files"}}, columns)], [folder]


def _count(columns: Sequence[codecs.Json]) -> int:
    return sum(1 + _count(each.get("fields", ())) for each in columns)


def _record_set(name: str, source: codecs.Json, columns: Sequence[codecs.Json]) -> codecs.Json:
    fields = [_field(name, each, {**source, "extract": {"column": each["name"]}}, ()) for each in columns]
    key = [each["@id"] for each in fields if each["name"] == "_index_"]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, **({"key": {"@id": key[0]}} if key else {}), "field": fields}


def _field(parent: str, column: codecs.Json, source: codecs.Json, inside: tuple[str, ...]) -> codecs.Json:
    """`inside`: the steps from the column to this part of it."""
    own = f"{parent}/{quote(column['name'], safe='')}"
    found: codecs.Json = {"@type": "cr:Field", "@id": own, "name": column["name"], "description": _about(column)}
    if "shape" in column:
        found |= {"isArray": True, "arrayShape": column["shape"]}
    found["source"] = {**source, "transform": {"jsonPath": ".".join(("$", *inside))}} if inside else source
    if "fields" in column:
        found["subField"] = [_field(own, each, source, (*inside, _step(each["name"]))) for each in column["fields"]]
    else:
        found["dataType"] = column["type"]
    return found


def _step(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else "'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _about(column: codecs.Json) -> str:
    exact = f"Arrow type: {column['arrow']}"
    return f"{column['about']} ({exact})" if column.get("about") else exact


def with_statements(found: codecs.Json, *, license_url: str | None = None, citation: str | None = None) -> codecs.Json:
    """The document with what the person who exports it states. None: nothing is stated."""
    stated: dict[str, Any] = {"license": license_url, "citeAs": citation}
    return {**found, **{name: value for name, value in stated.items() if value is not None}}
