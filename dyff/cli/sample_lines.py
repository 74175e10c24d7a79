"""Samples of an evaluation as lines for people: conversations turn by turn, texts wrapped, long ones cut. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from dyff.cli import reporting, tables

if TYPE_CHECKING:
    from dyff.entities.samples import Cell, Sample

MARGIN = 2
NARROWEST = 20
"""A text is not wrapped more narrowly than this."""
_ERROR = ("error", "status", "message")
_TOKEN = re.compile(r" +|[^ ]+")


class Turn(NamedTuple):
    """What one side of a conversation said."""

    role: str
    text: str


def conversation(value: Any) -> list[Turn] | None:
    """The turns of a conversation in one of the usual forms; None if the value is none."""
    if not isinstance(value, list) or not value:
        return None
    found = []
    for each in value:
        if not isinstance(each, dict):
            return None
        role = each.get("role", each.get("from"))
        text = _said(next((each[key] for key in ("content", "value", "text") if each.get(key) is not None), None))
        if not isinstance(role, str) or text is None:
            return None
        found.append(Turn(role, text))
    return found


def _said(content: Any) -> str | None:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        return None
    return "\n".join(_part(each) for each in content)


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return ""
    return part["text"] if isinstance(part.get("text"), str) else f"[{part.get('type', 'part')}]"


def heading(sample: Sample) -> str:
    """The index, the replication, and the scores."""
    number = sample.replication if sample.number is None else str(sample.number)
    words = [
        f"{cell.name}: {_brief(cell)}"
        for each in sample.scores
        for cell in each.row
        if not cell.name.startswith("_") and cell.kind != "bytes"
    ]
    state = "error" if sample.error is not None else "no answer" if sample.responses is None else ""
    return reporting.harmless("   ".join([f"{sample.index}.{number}", *([state] if state else []), *words])).replace("\n", "\\n")


def lines(sample: Sample, width: int, most: int | None) -> list[str]:
    """The lines below the heading. `width`: of the terminal. `most`: lines of one value; None for all."""
    pairs: list[tuple[str, str]] = []
    for cell in sample.item or []:
        pairs += _pairs(cell)
    for number, answer in enumerate(sample.responses or []):
        for cell in (each for each in answer if not each.name.startswith("_")):
            prefix = "answer" if number == 0 else f"answer {number}"
            pairs += [(f"{prefix} {name}", text) for name, text in _pairs(cell)]
    if sample.error is not None:
        pairs.append(("error", error_words(sample.error)))
    longest = max((tables.width(name) for name, _ in pairs), default=0)
    room = max(width - MARGIN - longest - len(tables.GAP), NARROWEST)
    found = []
    for name, text in pairs:
        wrapped = wrap(text, room)
        if most is not None and len(wrapped) > most:
            wrapped = [*wrapped[:most], f"... {len(wrapped) - most} more lines"]
        found += [
            " " * MARGIN + tables.padded(name if n == 0 else "", longest) + tables.GAP + part if part or n == 0 else ""
            for n, part in enumerate(wrapped)
        ]
    if sample.exchanges:
        found.append(f"{' ' * MARGIN}({len(sample.exchanges)} exchanges with the service; --json has what was sent and received)")
    return [each.rstrip() for each in found]


def _pairs(cell: Cell) -> list[tuple[str, str]]:
    """The name and the text of a cell; of a conversation, those of each turn."""
    name = reporting.harmless(cell.name).replace("\n", "\\n")
    turns = conversation(cell.value) if cell.kind == "json" and not cell.cut else None
    if turns is None:
        return [(name, _text(cell))]
    return [(f"{name} {reporting.harmless(turn.role)[:20]}".replace("\n", "\\n"), reporting.harmless(turn.text)) for turn in turns]


def _text(cell: Cell) -> str:
    if cell.kind == "bytes":
        return f"[{cell.mediaType or 'bytes'}{'' if cell.bytes is None else f', {cell.bytes} bytes'}]"
    value = cell.value
    text = value if isinstance(value, str) and (cell.kind != "json" or cell.cut) else json.dumps(value, ensure_ascii=False)
    more = f" ... ({cell.bytes} bytes in all)" if cell.cut and cell.bytes is not None else " ..." if cell.cut else ""
    return reporting.harmless(f"({text})" if cell.kind == "none" else text) + more


def _brief(cell: Cell) -> str:
    """A value in a few letters: four digits of a number that is not whole."""
    if isinstance(cell.value, float):
        return f"{cell.value:.4g}"
    return cell.value if isinstance(cell.value, str) else json.dumps(cell.value)


def error_words(error: Iterable[Cell]) -> str:
    """Why there is no answer."""
    words = [cell.value for cell in error if cell.name in _ERROR and cell.value not in (None, "")]
    return reporting.harmless(": ".join(each if isinstance(each, str) else json.dumps(each) for each in words)) or "error"


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, broken at spaces where there are any."""
    return [part for line in text.expandtabs(4).split("\n") for part in _wrapped(line, width)]


def _wrapped(line: str, width: int) -> list[str]:
    found, present = [], ""
    for token in _TOKEN.findall(line):  # spaces at the beginning stay: they can be those of code
        taken = tables.width(token)
        if not token.startswith(" ") and present and tables.width(present) + taken > width:
            found += [present.rstrip()] if present.strip() else []
            present = ""
        while taken > width and not token.startswith(" "):
            head = _head(token, width)
            found.append(head)
            token = token[len(head) :]
            taken = tables.width(token)
        present += token
    return [*found, present.rstrip()]


def _head(word: str, width: int) -> str:
    """As many letters as fit, and at least one."""
    used = 0
    for at, letter in enumerate(word):
        used += tables.width(letter)
        if used > width and at:
            return word[:at]
    return word
