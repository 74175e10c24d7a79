"""Safety cases: documents that a method, which is a notebook, makes of data."""

from __future__ import annotations

from dyff.entities import analyses, costs


class SafetyCase(analyses.Analysis, kw_only=True, frozen=True):
    """A document that a method made of data. Its file is `index.html`."""


KIND = analyses.row("SafetyCase", "safetycases", SafetyCase, "safetyCase", costs.safety_case, page="index.html")
