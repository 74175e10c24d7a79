"""The floor of the branch coverage of the pure packages (`tests/measuring.py` measures it).

The import contracts in pyproject.toml say what is pure: one list for both.
"""

from __future__ import annotations

import io
import tomllib
from pathlib import Path

import coverage

ROOT = Path(__file__).parents[1]
FLOOR = 100.0
"""Per cent, of lines and branches: everything that can be reached, since what cannot is marked in the code."""
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


def patterns() -> list[str]:
    """Of the pure files of this checkout."""
    return pure(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"])


def reached(measured: coverage.Coverage) -> tuple[str, bool]:
    """What to print of a run, and whether it reaches the floor. Pure files that no test imports are reported, too."""
    known = measured.get_data().measured_files()
    if not known:
        return "no coverage: no worker has measured anything\n", False
    unknown = [f"{each}: not imported by any test\n" for each in _files() if each not in known]
    shown = io.StringIO()
    share = measured.report(show_missing=True, skip_covered=True, file=shown)
    text = f"branch coverage of the pure packages: {share:.2f} % (floor: {FLOOR:.2f} %)\n"
    if share >= FLOOR and not unknown:
        return text, True
    return f"{shown.getvalue()}{''.join(unknown)}{text}Cover what is missing, or give the reason: # pragma: no cover: why\n", False


def _files() -> list[str]:
    """All that have a statement."""
    found = [each for pattern in patterns() for each in sorted(Path("/").glob(pattern[1:].replace("/*", "/**/*.py")))]
    return [str(each) for each in found if each.read_text().strip()]
