"""Log lines: what happens when they cannot be written."""

from __future__ import annotations

import io
import json
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


def test_a_logger_that_wrote_a_line_takes_the_next_set_up(restored):
    """A server logs before it knows its settings; then all its lines go where they say, also those of modules that wrote one before."""
    logger, first, second = structlog.get_logger(), io.StringIO(), io.StringIO()
    logs.configure("info", first)
    logger.info("before")
    logs.configure_with(second, "warning", as_json=True)
    logger.info("below the new level")
    logger.warning("after")
    assert "before" in first.getvalue()
    assert [line["event"] for line in map(json.loads, second.getvalue().splitlines())] == ["after"]
    assert "after" not in first.getvalue()
