"""Steps of an analysis for tests of the cluster: the fetch leaves a program, and the store prints what that program has written.

`python analysis_steps.py fetch-analysis|store-analysis --manifest FILE --destination|--source DIR`, like the real ones.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(program: str, manifest: str, place: Path) -> int:
    """Do a step. Returns its exit code."""
    given = {each["keyword"]: each["value"] for each in json.loads(Path(manifest).read_text())["spec"]["arguments"]}
    if program == "fetch-analysis":
        runner = place / ".dyff" / "runner"
        runner.mkdir(parents=True)
        (runner / "__main__.py").write_text(given["program"])
        (place / "input").write_text("given\n")
        for path in (place, place / ".dyff", runner):
            path.chmod(0o755)
        code = int(given.get("fetch", 0))
    else:
        for path in sorted(place.iterdir()):
            sys.stdout.write(f"{path.name}: {path.read_text()}\n")
        loaded = [name for name in ("DYFF_STORAGE_URL", "DYFF_ATTEMPT") if name in os.environ]
        sys.stdout.write(f"home: {os.listdir(os.environ['HOME'])}, here: {os.listdir()}, has {loaded}\n")
        code = int(given.get("store", 0))
    if code:
        sys.stdout.write(f"the last words of {program}\n")
    return code


if __name__ == "__main__":
    _, name, _, manifest_path, _, folder = sys.argv
    sys.exit(main(name, manifest_path, Path(folder)))
