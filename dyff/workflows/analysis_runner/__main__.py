"""Start the runner: python3 -I FOLDER --in DIR --out DIR.

This folder is a package of another name here than in Dyff's tree. It is loaded under a name of its own, so that no module of the author can
have the same, and the folder itself is taken off the import path again.
"""

import importlib
import importlib.util
import os
import sys

NAME = "dyff_analysis_runner"


def load(part: str) -> object:
    """Import a module of this folder."""
    folder = os.path.dirname(os.path.abspath(__file__))
    if NAME not in sys.modules:
        sys.path[:] = [each for each in sys.path if os.path.abspath(each) != folder]
        spec = importlib.util.spec_from_file_location(NAME, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[NAME] = package
        spec.loader.exec_module(package)
    return importlib.import_module(f"{NAME}.{part}")


if __name__ == "__main__":
    child = sys.argv[1:2] == ["--child"]
    sys.exit(load("running" if child else "supervising").main(sys.argv[2:] if child else sys.argv[1:]))  # type: ignore[attr-defined]
