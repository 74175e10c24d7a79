"""Stores an estimate as a score of the method that is running. The only part of this package that writes, and only where it is called.

The published AnalysisContext has no place for more than a quantity and a text. So the rest goes into a file of its own next to those
that it writes: `.dyff/estimates.json`, with `{"estimates": [{"name", "quantity", "text", "estimate"}]}`. The step that stores the output
puts both together.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

from dyff.stats.estimates import Estimate
from dyff.stats.unfit import Unfit

MAX_TEXT_CHARS = 280
"""As published."""
FILE = "estimates.json"
_CONFIG, _ROOT = "DYFF_AUDIT_ANALYSIS_CONFIG_FILE", "DYFF_AUDIT_LOCAL_STORAGE_ROOT"


class Context(Protocol):
    """What is used of `dyff.audit.analysis.AnalysisContext`."""

    @property
    def output_path(self) -> Path:
        """The folder of the output."""
        ...

    def Score(self, *, quantity: float, text: str, output: str, display: bool) -> None:
        """Show a score, and store it under its name."""
        ...


def score(output: str, estimate: Estimate, text: str, *, context: Context | None = None, display: bool = True) -> None:
    """Store an estimate as a score, with its interval.

    Args:
        output: the name of a score that the method declares.
        estimate: what a function of this package returned.
        text: what the quantity means, at most 280 characters. The interval is added if there is room.
        context: the AnalysisContext of a notebook, which then shows the score. A function needs none.
        display: whether the notebook shows it.

    Raises:
        Unfit: the text is too long, the score was stored before, or no method is running.
    """
    if len(text) > MAX_TEXT_CHARS:
        raise Unfit(f"text has {len(text)} characters; give at most {MAX_TEXT_CHARS}")
    whole = f"{text} ({estimate.interval()}; n = {estimate.n})"
    shown = whole if len(whole) <= MAX_TEXT_CHARS else text
    folder = (Path(context.output_path) if context is not None else _output()) / ".dyff"
    path = folder / FILE
    entries: list[dict[str, Any]] = json.loads(path.read_text())["estimates"] if path.exists() else []
    if any(each["name"] == output for each in entries):
        raise Unfit(f"output is {output!r}, which was stored before; store each score once")
    if context is not None:
        context.Score(quantity=estimate.value, text=shown, output=output, display=display)
    entries.append({"name": output, "quantity": estimate.value, "text": shown, "estimate": estimate.document()})
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"estimates": entries}, allow_nan=False))


def _output() -> Path:
    """The folder of the output of the method that is running."""
    missing = [name for name in (_CONFIG, _ROOT) if name not in os.environ]
    if missing:
        raise Unfit(
            f"no method is running here, since {missing[0]} is not set. Call dyff.stats.score where 'dyff method test' or the server runs "
            f"the code, or give context="
        )
    identity = json.loads(Path(os.environ[_CONFIG]).read_text())["spec"]["id"]
    return Path(os.environ[_ROOT]) / str(identity)
