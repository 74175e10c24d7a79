"""Puts the client's files into its wheel: they are in `dyff/` at the top of the tree, where hatchling does not look by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Files(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is internal to hatchling
    """Adds the files that `wheels/sdk/pyproject.toml` lists. An editable installation reads them where they are."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a build."""
        if version == "editable":
            return
        package = Path(self.root).parents[1] / "dyff"
        for name in self.config["files"]:
            build_data["force_include"][str(package / name)] = f"dyff/{name}"
