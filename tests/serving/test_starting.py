"""Commands and steps start without what only few of them need: each import is waited for by everyone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAMS = {
    "commands": (
        "import dyff.cli.main, dyff.serve.cli, dyff.serve.administration",
        {"rich", "yaml", "litestar", "pyarrow", "httpx", "numpy"},
    ),
    "steps": ("from dyff.workflows.__main__ import prepare; prepare()", {"rich", "yaml", "litestar", "numpy", "pandas"}),
}
"""What a program imports, and which packages it must not have then."""


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_few_need_is_not_imported_by_all(name):
    """Also where it is installed, as here."""
    script, without = PROGRAMS[name]
    program = f"import json, sys; {script}; print(json.dumps(sorted(name for name, module in sys.modules.items() if module)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert sorted(without & set(json.loads(done.stdout))) == []


def test_others_can_still_import_it():
    """Only structlog does without: what a program imports later is there."""
    program = "import dyff.serve.cli, rich.console, structlog; print(rich.console.__name__, structlog.dev.rich)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["rich.console", "None"]
