"""Where everything is, and what is to run: the files that the step before this one left."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

MAX_DOCUMENT_BYTES = 2**26
"""Of each JSON document that the run reads."""
MAX_IMAGE_BYTES = 2**24
"""Of an image file that is put into a page; a larger one is left out."""
METHOD_FIELDS = frozenset(
    (
        "id",
        "account",
        "name",
        "scope",
        "description",
        "implementation",
        "parameters",
        "inputs",
        "output",
        "scores",
        "modules",
        "analysisImage",
    )
)
"""Fields of a method within an analysis. The published package refuses others."""


@dataclass(frozen=True)
class Limits:
    """What a run may use. `memory_bytes`: of all processes together; None if only the machine limits it."""

    timeout_s: float
    memory_bytes: int | None
    log_bytes: int
    file_bytes: int
    cell_bytes: int


@dataclass(frozen=True)
class Place:
    """The folders of a run, and its documents. All paths are absolute."""

    inside: Path
    out: Path

    @property
    def root(self) -> Path:
        """The storage root, as the published package calls it: a folder for each entity, by its ID."""
        return self.out / "root"

    @property
    def packages(self) -> Path:
        """What the platform provides in addition to the environment. An older step before this one leaves no such folder."""
        return self.inside / ".dyff" / "packages"

    @property
    def work(self) -> Path:
        """The current, home and temporary folder of the code. It is removed at the end."""
        return self.out / "work"

    @property
    def config(self) -> Path:
        """What the published AnalysisContext reads."""
        return self.work / ".analysis.json"

    @property
    def result(self) -> Path:
        """The folder of the output."""
        return self.root / self.id

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The spec of the custom resource.

        Raises:
            ValueError: it is not what it must be.
        """
        spec = self._document("analysis.json").get("spec")
        if not isinstance(spec, dict) or not isinstance(spec.get("id"), str):
            raise ValueError("analysis.json has no spec with an id")
        return spec

    @property
    def id(self) -> str:
        """The ID of the analysis."""
        return str(self.spec["id"])

    @property
    def original(self) -> str:
        """The ID of the analysis whose random numbers are drawn: that which is run again, or this one."""
        return str(self.spec.get("reproduces") or self.id)

    @property
    def modules(self) -> list[str]:
        """The IDs of the modules, in the order of the import path."""
        return [str(each) for each in self.spec.get("modules") or []]

    @property
    def inputs(self) -> dict[str, str]:
        """The ID of the entity for each keyword."""
        return {each["keyword"]: each["entity"] for each in self.spec.get("inputs") or []}

    @property
    def arguments(self) -> dict[str, str]:
        """The arguments; always text."""
        return {each["keyword"]: each["value"] for each in self.spec.get("arguments") or []}

    @cached_property
    def method(self) -> dict[str, Any]:
        """The spec of the Method.

        Raises:
            ValueError: it is not there.
        """
        for each in self.spec.get("data") or []:
            if each.get("key") == "usecase":
                method = json.loads(base64.b64decode(each["value"])).get("spec")
                if isinstance(method, dict):
                    return method
        raise ValueError("analysis.json has no method: its data needs the key `usecase`")

    @cached_property
    def limits(self) -> Limits:
        """The limits of the run.

        Raises:
            ValueError: one is missing.
        """
        document = self._document("limits.json")
        missing = [name for name in Limits.__dataclass_fields__ if name not in document]
        if missing:
            raise ValueError(f"limits.json has no {', '.join(missing)}")
        return Limits(**{name: document[name] for name in Limits.__dataclass_fields__})

    def declared(self, entity: str) -> str | None:
        """Return the schema of an input's data in base64; None if it has none."""
        described = self._document("inputs.json", {}).get(entity)
        schema = described.get("schema") if isinstance(described, dict) else None
        return schema if isinstance(schema, str) else None

    def module_folders(self) -> dict[str, str]:
        """Return the ID of the module for each folder of modules. A file is below a module if it is below such a folder.

        Each is there by its real path, and by the link that the import path has: the code can remove the link.
        """
        real = {os.path.realpath(self.inside / each): each for each in self.modules}
        return {**real, **{str(self.root / each): each for each in self.modules}}

    def write_config(self) -> None:
        """Write what AnalysisContext reads: the custom resource as published, which has the method itself instead of its ID."""
        method = {name: value for name, value in self.method.items() if name in METHOD_FIELDS and value is not None}
        inputs = [{"keyword": keyword, "entity": entity} for keyword, entity in self.inputs.items()]
        scope = {name: value for name, value in (self.spec.get("scope") or {}).items() if value is not None}
        kept = {name: self.spec.get(name) or [] for name in ("arguments", "data")}
        spec = {"id": self.id, "method": method, "inputs": inputs, "scope": scope, **kept}
        self.config.write_text(json.dumps({"spec": spec}))

    def _document(self, name: str, otherwise: Mapping[str, Any] | None = None) -> dict[str, Any]:
        path = self.inside / ".dyff" / name
        if otherwise is not None and not path.exists():
            return dict(otherwise)
        with path.open("rb") as file:
            content = file.read(MAX_DOCUMENT_BYTES + 1)
        if len(content) > MAX_DOCUMENT_BYTES:
            raise ValueError(f"{name} is larger than {MAX_DOCUMENT_BYTES} bytes")
        document = json.loads(content)
        if not isinstance(document, dict):
            raise ValueError(f"{name} is not a JSON object")
        return document


def place(inside: str, out: str) -> Place:
    """Make the paths absolute."""
    return Place(Path(os.path.abspath(inside)), Path(os.path.abspath(out)))
