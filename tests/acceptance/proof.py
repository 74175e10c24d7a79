"""How whole paths and fault tests end: all of it is proved."""

from __future__ import annotations

import json
import time
from typing import Any

_DEADLINE_S = 60.0


def proved(subject: Any, story: str = "") -> dict[str, Any]:
    """`dyff verify` finds nothing in all events; its report. `subject`: has `command`; `story`: the message if it does.

    What is only behind, on a busy machine, is given time.
    """
    end = time.monotonic() + _DEADLINE_S
    while True:
        report: dict[str, Any] = json.loads(subject.command("verify", "--json"))
        assert (report["count"], report["differences"]) == (0, []), story
        if not report["notes"]:
            assert len(set(report["roots"].values())) == 1, story
            return report
        assert time.monotonic() < end, f"{report['notes']} {story}"
