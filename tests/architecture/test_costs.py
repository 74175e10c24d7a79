"""The summary of what the tests cost."""

from __future__ import annotations

import subprocess
import sys

from tests import costs


def test_the_costliest_files_are_shown_first():
    """So many of them, behind the sum, whose rest is what no test has cost."""
    lines = costs.shown(100.0, {f"tests/{number}.py": float(number) for number in range(costs.COSTLIEST + 1)})
    assert lines[:2] == ["   100.0 s, of which tests 78.0 s", "    12.0 s tests/12.py"]
    assert lines[-1] == "     1.0 s tests/1.py"
    assert len(lines) == 1 + costs.COSTLIEST
    assert costs.shown(1.0, {}) == ["     1.0 s, of which tests 0.0 s"]


def test_what_a_program_took_is_counted():
    """Once it has ended."""
    before = costs.spent_s()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass"], check=True)
    assert costs.spent_s() - before >= 0.2
