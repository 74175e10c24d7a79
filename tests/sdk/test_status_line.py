"""The line of a terminal that shows progress."""

from __future__ import annotations

from tests.sdk.test_displays import *  # noqa: F403
