"""Prose in plain English: words that native-speaking engineers would not use here do not come back."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTEAD = {
    r"mend(s|ed|ing)?": "fix, repair",
    r"told": "reported, said, asked to",
    r"beside(?!s)": "next to, alongside, in parallel with",
    r"so long": "for that long; 'as long as' is fine",
    r"(gets?|got|getting) on": "makes progress, continues",
    r"whoever": "anyone who, those who, or name the caller",
    r"who(soever| it may concern)": "name the caller",
    r"that there (is|are)": "name the thing: 'all labels', 'the present status'",
    r"anew": "again",
    r"(is|are|was|were) there already": "exists already",
}
"""A word as a pattern, and what to write in its place."""

PATTERN = re.compile("|".join(rf"\b(?:{word})\b" for word in INSTEAD), re.IGNORECASE)
FOLDERS = ("dyff", "migrations", "benchmarks", "examples", "image", "tests")
CODE = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py") if file != Path(__file__))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def prose(file: Path) -> list[tuple[int, str]]:
    """Lines of a document, or the comments and texts of code (messages are prose, too), with their numbers."""
    text = file.read_text()
    if file.suffix == ".md":
        return list(enumerate(text.splitlines(), 1))
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [
        (token.start[0] + n, line) for token in tokens if token.type in kinds for n, line in enumerate(token.string.splitlines())
    ]  # fmt: skip


def test_the_prose_is_plain():
    """Comments, docstrings, messages and documents have no word of the list; each has a usual word in its place."""
    assert len(CODE) > 500
    assert [
        f"{file.relative_to(ROOT)}:{number}: {found[0]!r}: {line.strip()[:100]}"
        for file in [*CODE, *DOCUMENTS]
        if PATTERN.search(file.read_text())  # most have none, and need not be taken apart
        for number, line in prose(file)
        if (found := PATTERN.search(line))
    ] == []


def test_the_check_finds_words_where_they_are():
    """Docstrings, comments, messages and documents are looked at; names in code are not, since they are renamed by other means."""
    assert PATTERN.search("Whoever mends it") is not None
    assert PATTERN.search("besides, it goes on as long as needed") is None
