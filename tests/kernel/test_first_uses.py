from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import long_round

PROGRAM = Path(__file__).with_name("first_uses.py")


@pytest.mark.slow
@pytest.mark.parametrize("process", [0, *(pytest.param(number, marks=long_round) for number in (1, 2))])
def test_threads_may_use_a_struct_for_the_first_time_at_the_same_instant(process):
    """Every first use of a Struct is safe in several threads at once (docs/adr/0019-first-uses-of-structs.md)."""
    done = subprocess.run([sys.executable, str(PROGRAM), "100"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 300
