"""What happens during an evaluation: when containers begin and end, and which processes use the CPU."""

from __future__ import annotations

import json
import threading
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from overhead_parts import accounting

EVERY_S = 0.01


def running(pods: Path) -> bool:
    """Whether any pod below this directory has a run that has not ended."""
    return any(_unfinished(path) for path in pods.iterdir() if path.is_dir())


def _unfinished(pod: Path) -> bool:
    intent, record = _read(pod / "intent.json"), _read(pod / "record.json")
    return intent is not None and not (record is not None and record["run"] == intent["run"] and record["finished"])


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


class Watcher:
    """Samples processes and the records of pods while it is entered. A context manager."""

    def __init__(self, pods: Path) -> None:
        """`pods`: the directory with the directories of all pods."""
        self._pods = pods
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._before = {(each.pid, each.started): each.own_s for each in accounting.descendants()}
        self._seen: dict[tuple[int, int], float] = {}
        self._names: dict[tuple[int, int], str] = {}
        self._events: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def by_process(self) -> list[tuple[str, float]]:
        """Return the CPU seconds by name, the largest first."""
        total: dict[str, float] = {}
        for key, seconds in self._seen.items():
            total[self._names[key]] = total.get(self._names[key], 0.0) + seconds - self._before.get(key, 0.0)
        return sorted(((name, seconds) for name, seconds in total.items() if seconds > 0.0), key=lambda each: -each[1])

    def events(self, since: float) -> list[tuple[float, str]]:
        """Return the beginnings and ends of containers after `since`, each as seconds since 1970 and a description."""
        return [(moment, what) for what, moment in self._events.items() if moment > since]

    def _watch(self) -> None:
        while not self._over.wait(EVERY_S):
            for each in accounting.descendants():
                key = (each.pid, each.started)
                self._seen[key] = each.own_s
                self._names[key] = _name(each.pid) or self._names.get(key, "?")
            for path in self._pods.iterdir():
                self._note(path)

    def _note(self, pod: Path) -> None:
        intent, record = _read(pod / "intent.json"), _read(pod / "record.json")
        if intent is None:
            return
        name = intent["pod"].split("-", 2)[-1] if intent["pod"].count("-") > 1 else intent["pod"]
        try:
            self._events.setdefault(f"{name}: promised", (pod / "intent.json").stat().st_mtime)
        except OSError:
            return
        for container, facts in (record or {"containers": {}})["containers"].items():
            for key, what in (("startedAt", "begins"), ("finishedAt", "ends")):
                if facts.get(key):
                    self._events.setdefault(f"{name}/{container}: {what}", _moment(facts[key]))


def _moment(stamp: str) -> float:
    return datetime.fromisoformat(stamp[:26] + "+00:00").timestamp()


def _name(pid: int) -> str:
    """What a process does, as its command line or its name shows it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
    line = b" ".join(words).decode(errors="replace")
    for mark in ("mock-service", "evaluation-client", "verify-evaluation-output", "fetch-data", "fetch-model"):
        if mark in line:
            return mark
    if "shim" in line and name.startswith("python"):
        return "shim"
    return "server" if " serve " in line else name
