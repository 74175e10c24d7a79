"""Which kinds analyses read and make, and where their data is. Steps use this without the registry, with which a test compares it. Pure."""

from __future__ import annotations

MODULE = "Module"
TABLE = "Measurement"
"""The kind whose output is a table; that of the other one is a page."""

COLLECTIONS = {
    "Dataset": "datasets",
    "Evaluation": "outputs",
    TABLE: "measurements",
    "SafetyCase": "safetycases",
    MODULE: "modules",
    "Report": "reports",
}
"""By kind: the folder of the object store that has the data of its entities (`dyff.entities.kind.Kind.collection`)."""

WITHOUT_MANIFEST = {"Dataset": "", "Evaluation": "verified/"}
"""Kinds that releases before ADR 18 stored without a manifest: the folder below the entity's own that has their data."""
