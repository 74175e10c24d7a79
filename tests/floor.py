"""After a run with `--cov`: the branch coverage of all of Dyff, and of the pure packages, which must not have less than before.

The import contracts in pyproject.toml say what is pure: one list for both.
"""

from __future__ import annotations

import io
import sys
import tomllib
from pathlib import Path

import coverage

ROOT = Path(__file__).parents[1]
FLOOR = 83.0
"""Per cent. What their own tests reach today; it must only rise, up to 100."""
CONTRACTS = ("The domain is pure", "What the operator decides is pure")


def pure(contracts: list[dict[str, list[str]]]) -> list[str]:
    """Patterns of the files that the contracts call pure.

    Raises:
        ValueError: a contract or a module is missing, for instance since it was renamed.
    """
    patterns = []
    for name in CONTRACTS:
        found = [each for each in contracts if str(each["name"]).startswith(name)]
        if len(found) != 1:
            raise ValueError(f"pyproject.toml has no contract {name!r}: change CONTRACTS in tests/floor.py, too")
        for module in found[0]["source_modules"]:
            place = ROOT / module.replace(".", "/")
            if not place.is_dir() and not place.with_suffix(".py").is_file():
                raise ValueError(f"pyproject.toml names {module}, which does not exist")
            patterns.append(f"{place}/*" if place.is_dir() else f"{place}.py")
    return patterns


def main() -> int:
    """0 if the pure packages reach the floor."""
    patterns = pure(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"])
    measured = coverage.Coverage(config_file=str(ROOT / "pyproject.toml"))
    measured.load()
    total = measured.report(file=io.StringIO())
    shown = io.StringIO()
    reached = measured.report(include=patterns, show_missing=True, skip_covered=True, file=shown)
    sys.stdout.write(f"branch coverage: {total:.1f} % of dyff, {reached:.2f} % of the pure packages (floor: {FLOOR:.0f} %)\n")
    if reached < FLOOR:
        sys.stdout.write(f"{shown.getvalue()}Cover what is missing, or give the reason: # pragma: no cover: why\n")
    return int(reached < FLOOR)


if __name__ == "__main__":
    sys.exit(main())
