"""`python -m dyff.workflows NAME ...`: runs one step, and imports only what that step needs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from dyff.kernel import memory

STEPS = {
    "evaluation-client": "evaluation_client",
    "verify-evaluation-output": "verify_evaluation_output",
    "publish-incomplete-output": "publish_incomplete_output",
    "fetch-data": "fetch_data",
    "fetch-model": "fetch_model",
    "fetch-analysis": "fetch_analysis",
    "store-analysis": "store_analysis",
    "mock-service": "mock_service",
}
"""The one table of steps: from name to module. The module's `main(arguments)` returns the exit code."""


PREPARED = ("evaluation-client", "verify-evaluation-output", "fetch-data", "fetch-analysis", "store-analysis")
"""The steps that a process can import in advance. The others are rare, take long, or are services."""

_USED_LATER = ("anyio._backends._asyncio", "asyncio.runners", "concurrent.futures.thread", "encodings.idna", "uvloop")
"""Modules that are imported only when these steps run."""


class WithoutUnused:
    """Hides what libraries import wherever it is installed, and no step uses; without it a step starts in 0.3 s instead of 2.5 s.

    Arrow imports numpy and pandas for conversions to their types; httpx and structlog import Rich for colours on a terminal.
    """

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname in ("numpy", "pandas", "rich"):
            raise ModuleNotFoundError(f"steps do without {fullname}", name=fullname)


def prepare() -> None:
    """Import what the steps in `PREPARED` use, for a process that forks others, in which `main` then starts at once."""
    memory.tune()
    _hide_unused()
    for name in (*(f"dyff.workflows.{STEPS[each]}" for each in PREPARED), *_USED_LATER):
        importlib.import_module(name)


def main() -> int:
    """Run the step that the command line names and return its exit code (`dyff.workflows.endings` lists them)."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in STEPS:
        fix = f"they are {', '.join(STEPS)}; a new one is added to STEPS in dyff/workflows/__main__.py"
        sys.stderr.write(f"usage: python -m dyff.workflows NAME ...\n{name[:100]!r} is no step; {fix}\n")
        return 64
    memory.tune()
    _hide_unused()
    module = f"dyff.workflows.{STEPS[name]}"
    try:
        step = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        sys.stderr.write(f"the step {name} needs {module.replace('.', '/')}.py, with the function `main`\n")
        return 64
    code: int = step.main(sys.argv[2:])
    return code


def _hide_unused() -> None:
    if not any(isinstance(each, WithoutUnused) for each in sys.meta_path):
        sys.meta_path.insert(0, WithoutUnused())


if __name__ == "__main__":
    sys.exit(main())
