"""A large evaluation needs no more memory than a small one."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pyarrow as pa
import pytest

ROWS, ROW_BYTES = 50_000, 2_000


def peak_mib(steps, name, *arguments, **kwargs):
    """Run a step that must succeed; the most memory that it had, as its own system says (what a parent is told includes the parent's)."""
    process = steps.start(name, *arguments, **kwargs)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, peak_so_far_mib(process.pid))
        time.sleep(0.02)
    output, _ = process.communicate(timeout=5)
    assert process.returncode == 0, output
    return peak


def peak_so_far_mib(pid):
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def a_dataset(count):
    """Rows that do not compress, in one row group."""
    return pa.table({"_index_": range(count), "text": [os.urandom(ROW_BYTES // 2).hex() for _ in range(count)]})


@pytest.mark.slow
def test_memory_does_not_grow_with_the_dataset(store, steps, service):
    """50,000 items of 2 kB each (100 MB) take the client hardly more memory than 4,000, and the verification a bounded amount."""
    manifest = steps.manifest(service, workers=16)
    store.dataset(a_dataset(4_000))
    small = peak_mib(steps, "evaluation-client", "--manifest", manifest)
    store.dataset(a_dataset(ROWS))
    large = peak_mib(steps, "evaluation-client", "--manifest", manifest, attempt="attempt-2")
    again = peak_mib(steps, "evaluation-client", "--manifest", manifest, attempt="attempt-3")
    verification = peak_mib(steps, "verify-evaluation-output", "--manifest", manifest, attempt="verify")
    assert store.verified().num_rows == ROWS
    growth = (large - small, again - small)
    assert max(growth) < 40
    assert verification - small < 150
