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

USECASE, SYSTEM = "usecase", "system"
"""The keys of the published `data`: the method, and the model or service that the results are about, each with its documentation."""

IN_DIR, OUT_DIR = "/dyff/in", "/dyff/out"
"""Where the containers of an analysis find what the method reads, and what it writes."""
RUNNER = (f"{IN_DIR}/.dyff/runner", "--in", IN_DIR, "--out", OUT_DIR)
"""The arguments of Python that run the method."""
