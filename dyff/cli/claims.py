"""What a safety case says of itself besides its scores: which texts are missing, and how they are asked for or read from a file."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from dyff.cli import reporting

FILE = "case.toml"
"""In the folder of a method that makes safety cases."""
MAX_FILE_BYTES = 2**20
ASKED = {
    "claim": "what the case shows, in a sentence or two",
    "scope": "for which uses, versions and languages the claim is made",
    "assumptions": "what must hold for the claim",
    "limits": "what you know that the case does not show",
    "evaluators": "who made it, and who paid",
    "relationship": "of the evaluators to the system: first_party, third_party, collaborative or other",
}
"""The texts that a page needs, each with what it says (docs/safety-cases.md)."""
OTHERS = ("title", "summary", "fullPage")


class Wrong(ValueError):
    """The file cannot be read; the message names it, the text and the fix."""


def read(path: Path) -> dict[str, str]:
    """The texts of a file, or of `case.toml` in a folder; a folder without one has none. Empty texts are left out.

    Raises:
        Wrong: it is no such file.
    """
    from dyff.entities import dossiers
    from dyff.kernel import suggestions

    file = path / FILE if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        return {}
    with file.open("rb") as opened:
        data = opened.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise Wrong(f"{file} has more than {MAX_FILE_BYTES} bytes; it only has the texts of a safety case")
    try:
        document = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise Wrong(f"{file} cannot be read: {error}") from error
    known = (*OTHERS, *ASKED)
    for name, text in document.items():
        if name not in known:
            raise Wrong(f"{file}: {name} is not known; {suggestions.hint(name, known)}")
        if not isinstance(text, str):
            raise Wrong(f'{file}: {name}: give a text, such as {name} = "..."')
    given = {name: text for name, text in document.items() if text.strip()}
    relationship = given.get("relationship")
    if relationship is not None and relationship not in dossiers.RELATIONSHIPS:
        raise Wrong(f"{file}: relationship: {relationship!r} is not known; {suggestions.hint(relationship, dossiers.RELATIONSHIPS)}")
    return given


def missing(texts: Mapping[str, str | None]) -> list[str]:
    """The names of the texts that a page needs and that are not there."""
    return [name for name in ASKED if not (texts.get(name) or "").strip()]


def at_terminal() -> bool:
    """Whether a person can be asked."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def ask(names: Iterable[str]) -> dict[str, str]:
    """Ask for texts. An empty answer leaves one out."""
    from dyff.entities import dossiers

    click.echo("The page of a safety case needs these texts. Press Enter to leave one out.", err=True)
    found = {}
    for name in names:
        kinds = click.Choice(["", *dossiers.RELATIONSHIPS]) if name == "relationship" else None
        text = click.prompt(f"{name} ({ASKED[name]})", default="", show_default=False, type=kinds, show_choices=False, err=True)
        if text.strip():
            found[name] = text.strip()
    return found


def notice(names: Iterable[str], how: str) -> None:
    """Say on standard error which texts are missing, if any are. `how`: to set them."""
    if lines := [f"  {name.ljust(12)} {ASKED[name]}" for name in names]:
        click.echo("\n".join(["The page of the safety case will say that these texts are missing:", *lines, how]), err=True)


def add(file: Path, texts: Mapping[str, str]) -> None:
    """Write texts into a file: in place of empty ones, otherwise at its end. What else is in it stays."""
    content = file.read_text(encoding="utf-8") if file.exists() else ""
    for name, text in texts.items():
        line = f"{name} = {json.dumps(reporting.harmless(text), ensure_ascii=False)}"
        if found := re.search(rf'^{name}\s*=\s*""', content, re.MULTILINE):
            content = content[: found.start()] + line + content[found.end() :]
        else:
            content = f"{content.rstrip()}\n{line}\n".lstrip()
    file.write_text(content, encoding="utf-8")
