"""What the cells of a notebook have put out so far, as the notebook format has it, within bounds."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping
from typing import Any

Output = dict[str, Any]
"""An output as nbformat 4 has it; the text of a stream is a list of pieces."""

PIECE_BYTES = 64
"""What an output costs apart from its content, so that a million empty ones are not free."""


def overwritten(text: str) -> str:
    """Return a text as a terminal shows it, where a carriage return goes back to the start of the line: progress bars use that."""
    if "\r" not in text:
        return text
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        shown = ""
        for piece in line.split("\r"):
            shown = piece + shown[len(piece) :]
        lines.append(shown)
    return "\n".join(lines)


class Outputs:
    """The outputs of each cell. Other threads may add to it."""

    def __init__(self, cell_bytes: int, all_bytes: int, exceeded: Callable[[str], None]) -> None:
        """`cell_bytes`, `all_bytes`: the most of one cell and of all. `exceeded` is called with a sentence, and ends the process."""
        self.cells: dict[int, list[Output]] = {}
        self._current: list[Output] = []
        self._number = 0
        self._cell_bytes, self._all_bytes = cell_bytes, all_bytes
        self._used = self._total = 0
        self._exceeded = exceeded
        self._clear_next = False
        self._named: dict[str, list[Output]] = {}
        self._lock = threading.RLock()

    def begin(self, number: int) -> None:
        """Begin the outputs of a cell."""
        with self._lock:
            self._current = self.cells.setdefault(number, [])
            self._number, self._used, self._clear_next = number, 0, False

    def text(self, name: str, text: str) -> None:
        """Add what was printed; `name`: `stdout` or `stderr`."""
        with self._lock:
            self._count(len(text))
            self._cleared()
            last = self._current[-1] if self._current else {}
            if last.get("output_type") == "stream" and last["name"] == name:
                last["text"].append(text)
            else:
                self._current.append({"output_type": "stream", "name": name, "text": [text]})

    def bundle(self, kind: str, data: Mapping[str, Any], metadata: Mapping[str, Any] | None, display_id: str | None = None) -> None:
        """Add what was displayed; `kind`: `display_data` or `execute_result`."""
        with self._lock:
            encoded = _encoded(data)
            self._count(_size(encoded))
            self._cleared()
            output = {"output_type": kind, "data": encoded, "metadata": dict(metadata or {})}
            self._current.append(output)
            if display_id is not None:
                self._named.setdefault(display_id, []).append(output)

    def update(self, data: Mapping[str, Any], metadata: Mapping[str, Any] | None, display_id: str) -> None:
        """Replace what was displayed under an ID, in all cells."""
        with self._lock:
            encoded = _encoded(data)
            for each in self._named.get(display_id, ()):
                self._release(_size(each["data"]))
                self._count(_size(encoded))
                each.update(data=encoded, metadata=dict(metadata or {}))

    def error(self, name: str, value: str, traceback: list[str]) -> None:
        """Add an exception of a cell that may raise one."""
        with self._lock:
            self._count(sum(map(len, traceback)))
            self._cleared()
            self._current.append({"output_type": "error", "ename": name, "evalue": value, "traceback": traceback})

    def clear(self, wait: bool) -> None:
        """Remove the outputs of the current cell; `wait`: when the next one comes."""
        with self._lock:
            self._clear_next = True
            if not wait:
                self._cleared()

    def _cleared(self) -> None:
        if self._clear_next:
            self._clear_next = False
            self._current.clear()
            self._total -= self._used
            self._used = 0

    def _release(self, size: int) -> None:
        self._used = max(0, self._used - size - PIECE_BYTES)
        self._total -= size + PIECE_BYTES

    def _count(self, size: int) -> None:
        self._used += size + PIECE_BYTES
        self._total += size + PIECE_BYTES
        if self._used > self._cell_bytes:
            self._exceeded(f"cell {self._number} puts out more than {self._cell_bytes} bytes, which is the most for one cell")
        if self._total > self._all_bytes:
            self._exceeded(f"the notebook puts out more than {self._all_bytes} bytes, up to cell {self._number}")


def _encoded(data: Mapping[str, Any]) -> dict[str, Any]:
    return {str(mime): base64.b64encode(value).decode() if isinstance(value, bytes) else value for mime, value in data.items()}


def _size(data: Mapping[str, Any]) -> int:
    return sum(len(value) if isinstance(value, str) else len(repr(value)) for value in data.values())
