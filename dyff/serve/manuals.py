"""The documents of the folder `docs/`, which messages name. In a wheel the folder is next to this file, in a checkout at the top level."""

from __future__ import annotations

import re
from pathlib import Path

from dyff.kernel import errors, suggestions

_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*")
_FENCE = re.compile(r"\s*(```|~~~)")
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


def folder() -> Path:
    """The folder with the documents."""
    packaged = Path(__file__).parent / "docs"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "docs"


def titles() -> dict[str, str]:
    """The names of all documents, such as `settings` or `adr/0001-language`, with their titles. Those in folders come last."""
    where = folder()
    found = sorted(where.rglob("*.md"), key=lambda each: (each.parent != where, each.with_suffix("")))
    return {str(each.relative_to(where).with_suffix("")): _title(each.read_text()) for each in found}


def _title(text: str) -> str:
    return next((each.lstrip("# ") for each in text.splitlines() if each.startswith("#")), "")


def text(name: str) -> str:
    """A document, or the section below one of its headings.

    `name`: such as `settings`, `docs/settings.md` or `settings#operatorstorage_secret`. What follows the `#` is a heading, as it is
    written or as an anchor of a link to it.

    Raises:
        NotFound: there is no such document or heading; the message has the nearest.
    """
    wanted, _, heading = name.partition("#")
    wanted = wanted.removeprefix("docs/").removesuffix(".md")
    known = titles()
    if wanted not in known:
        near = suggestions.nearest(wanted, known)
        hint = f"did you mean {near!r}? " if near else ""
        raise errors.NotFound(f"there is no document {suggestions.shown(wanted)!r}; {hint}'dyff docs' lists all of them")
    whole = (folder() / f"{wanted}.md").read_text()
    return _section(wanted, whole, heading) if heading else whole


def anchor(heading: str) -> str:
    """The anchor of a heading, as links to it have it."""
    return _NOT_IN_ANCHORS.sub("", heading.lower()).strip().replace(" ", "-")


def _section(name: str, whole: str, heading: str) -> str:
    lines, fenced = whole.splitlines(), False
    found: list[tuple[int, int, str]] = []
    for number, line in enumerate(lines):
        fenced ^= bool(_FENCE.match(line))
        if not fenced and (match := _HEADING.fullmatch(line)):
            found.append((number, len(match[1]), match[2]))
    for position, (first, level, title) in enumerate(found):
        if anchor(title) == anchor(heading):
            end = next((number for number, deeper, _ in found[position + 1 :] if deeper <= level), len(lines))
            return "\n".join(lines[first:end]).rstrip() + "\n"
    near = suggestions.hint(heading, [title.strip("`") for _, _, title in found])
    raise errors.NotFound(f"the document {name!r} has no heading {suggestions.shown(heading)!r}; {near}")
