"""Log lines: what happens when they cannot be written."""

from __future__ import annotations

import io
import logging

import pytest
import structlog

from dyff.kernel import logs


class FullDisk(io.StringIO):
    """Standard error in a file on a disk without space."""

    full = True

    def write(self, text):
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


@pytest.fixture
def restored():
    """Logging is as before afterwards."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
    logging.basicConfig(force=True)


def test_a_line_that_cannot_be_written_is_lost_and_harms_nothing(restored):
    """What is logged about goes on; later lines are written again."""
    stream = FullDisk()
    logs.configure("info", stream)
    logger = structlog.get_logger()
    logger.info("lost")
    stream.full = False
    logger.info("kept")
    assert "kept" in stream.getvalue()
    assert "lost" not in stream.getvalue()
