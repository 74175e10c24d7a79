"""Build the two wheels: python -m wheels.build --out build/wheels."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECTS = (ROOT, ROOT / "wheels/sdk")
"""The folders with the `pyproject.toml` of each: dyff-platform, dyff-sdk."""


def build(out: Path) -> list[Path]:
    """Build the wheels of both projects into a folder; returns their files, in the order of `PROJECTS`. Needs no network.

    Raises:
        CalledProcessError: one cannot be built.
    """
    uv = str(Path(sys.executable).with_name("uv"))
    options = ("--quiet", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable, "--out-dir", str(out))
    made = []
    for folder in PROJECTS:
        subprocess.run([uv, "build", *options, str(folder)], check=True)
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        made.append(out / f"{project['name'].replace('-', '_')}-{project['version']}-py3-none-any.whl")
    return made


def main() -> None:
    """Build them and print where they are."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--out", type=Path, required=True, help="the folder for them")
    given = flags.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for each in build(given.out.absolute()):
        sys.stdout.write(f"{each}\n")


if __name__ == "__main__":
    main()
