"""Where each of several workers begins to collect: what one has compiled by then, the others find. A clean clone is compiled once."""

from __future__ import annotations

from pathlib import Path


def begun_elsewhere(folder: Path, number: int, workers: int) -> list[str]:
    """The folders and test files in `folder`, from the one with which the worker `number` begins, each with as much before the next."""
    parts = sorted(each for each in folder.iterdir() if each.name.startswith("test_") or any(each.rglob("test_*.py")))
    sizes = [sum(file.stat().st_size for file in (each.rglob("*.py") if each.is_dir() else [each])) for each in parts]
    first = next((n for n in range(len(parts)) if sum(sizes[: n + 1]) > sum(sizes) * number / workers), 0)
    return [str(each) for each in (*parts[first:], *parts[:first])]
