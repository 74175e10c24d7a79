"""The conditions of a request for a file (RFC 9110, section 13): If-Match, If-None-Match and If-Range. Pure.

A file's tag is its digest, so it is a strong one. There is no date of modification, so If-Modified-Since and If-Unmodified-Since
are ignored, as HTTP says.
"""

from __future__ import annotations

import re

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def status(tag: str | None, if_match: str | None, if_none_match: str | None) -> int | None:
    """The status of the answer without the file: 412 or 304; None if the file is to be sent.

    `tag`: of the file, with its quotes; None if it is not known. The others: the headers, several of the same name joined; None if absent.
    """
    if if_match is not None and if_match.strip() != "*" and (tag is None or (False, tag) not in _tags(if_match)):
        return 412
    if if_none_match is None:
        return None
    if if_none_match.strip() == "*" or any(each == tag for _, each in _tags(if_none_match)):
        return 304
    return None


def range_holds(tag: str | None, if_range: str | None) -> bool:
    """Whether a range may be served: If-Range is absent, or has the tag of exactly this file. Dates never match: they are too coarse."""
    return if_range is None or (tag is not None and if_range.strip() == tag)


def _tags(header: str) -> list[tuple[bool, str]]:
    """Whether each tag of a list is weak, and the tag; none if the list is malformed."""
    if _TAG.sub("", header).strip(" \t,"):
        return []
    return [(bool(match[1]), match[2]) for match in _TAG.finditer(header)]
