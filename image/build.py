"""Build Dyff's image, which serves all roles and steps, or the environment of analyses, and write it to a file for `docker load` or
`ctr images import`.

    python -m image.build --out build/image/dyff.tar
    python -m image.build --of analysis --out build/image/analysis.tar

It uses the Dockerfile next to this file if a container builder is found. Otherwise, or with --without-builder, it installs the
project's wheels and their pinned dependencies on a small Debian with Python, which is cached. This needs root on a Debian.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyff.kernel import analysis_settings
from image import archive, packages
from wheels.build import build as build_wheels

ROOT = Path(__file__).parents[1]
NAME = "dyff.local/dyff:latest"
NAMES = ("dyff-platform", "dyff-sdk")
BUILDERS = ("docker", "podman")
PYTHON = "3.11"
"""The Debian release's version. Every dependency has a wheel for it."""

INCLUDED = ("python3", "ca-certificates", "git")
"""Git is for fetching models."""

CONFIG = {
    "User": "65532:65532",
    "Entrypoint": ["dyff"],
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE=1", "HOME=/tmp", "LANG=C.UTF-8"],
    "WorkingDir": "/tmp",
}
_COMMAND = "#!/usr/bin/python3 -P\nfrom dyff.cli.main import main\n\nmain()\n"
ANALYSIS = ("requirements/analysis.txt", "requirements/analysis-audit.txt")
"""What methods may import. The second is installed without what it requires."""


@dataclass(frozen=True)
class Recipe:
    """How an image is made. `install`: puts what it has into the file system; it gets that, and a folder to work in."""

    name: str
    dockerfile: str
    config: dict[str, Any]
    install: Callable[[Path, Path], None]


def main() -> None:
    """Build the image and print where it is."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--of", choices=RECIPES, default="dyff", help="which image")
    flags.add_argument("--out", type=Path, required=True, help="the file to write")
    flags.add_argument("--name", help="of the image, with its tag")
    flags.add_argument("--without-builder", action="store_true", help="do not look for a container builder")
    given = flags.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    recipe = RECIPES[given.of]
    name = given.name or recipe.name
    builder = None if given.without_builder else next(filter(_works, BUILDERS), None)
    if builder is not None:
        packages.run(builder, "build", "--file", str(ROOT / recipe.dockerfile), "--tag", name, str(ROOT))
        packages.run(builder, "save", "--output", str(given.out), name)
    elif os.geteuid() != 0:
        sys.exit(f"no container builder ({', '.join(BUILDERS)}) is here, and without one it takes root: install one, or run this as root")
    else:
        build(given.out.absolute(), name, recipe)
    sys.stdout.write(f"{name} is in {given.out}\n")


def _works(builder: str) -> bool:
    """Whether the builder's engine answers: often only the client is installed."""
    return shutil.which(builder) is not None and subprocess.run([builder, "info"], check=False, capture_output=True).returncode == 0


def build(out: Path, name: str, recipe: Recipe | None = None) -> None:
    """Build without a container builder. `recipe`: None for Dyff's own image."""
    chosen = recipe or RECIPES["dyff"]
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        root = Path(folder) / "root"
        packages.run("cp", "--archive", "--reflink=auto", str(_python()), str(root))
        chosen.install(root, Path(folder))
        archive.write(out, name, chosen.config, root=root)


def _install_dyff(root: Path, work: Path) -> None:
    """Install the wheels, their dependencies, and the command."""
    folder = work / "wheels"
    folder.mkdir()
    build_wheels(folder)
    _pip(root, "--require-hashes", "-r", str(ROOT / "requirements/all.txt"))
    _pip(root, "--no-index", "--find-links", str(folder), *NAMES)  # by name: a path would be recorded
    _finish(root)
    command = root / "usr/local/bin/dyff"
    command.write_text(_COMMAND)
    command.chmod(0o755)


def _install_analysis(root: Path, work: Path) -> None:
    """Install what methods may import, and nothing of Dyff."""
    for each in ANALYSIS:
        _pip(root, "--require-hashes", "-r", str(ROOT / each))
    _finish(root)


def _modules(root: Path) -> Path:
    return root / f"usr/local/lib/python{PYTHON}/dist-packages"


def _pip(root: Path, *wanted: str) -> None:
    uv, target = str(Path(sys.executable).parent / "uv"), str(_modules(root))
    into = ("pip", "install", "--quiet", "--target", target, "--python-version", PYTHON, "--python-platform", "linux", "--no-deps")
    packages.run(uv, *into, "--link-mode=copy", "--only-binary", ":all:", *wanted)


def _finish(root: Path) -> None:
    """Make the byte code, which cannot be written later, and remove what depends on where and when this was built."""
    modules = _modules(root)
    _forget_times(modules)
    shutil.rmtree(modules / "bin", ignore_errors=True)  # commands for the interpreter that installed them
    inside = "/" + str(modules.relative_to(root))
    packages.run("chroot", str(root), "python3", "-m", "compileall", "-q", "-j0", "--invalidation-mode", "unchecked-hash", inside)


def _forget_times(modules: Path) -> None:
    """Remove the files that record when a wheel was built, so that the same sources give the same bytes."""
    for note in modules.glob("*.dist-info/uv_cache.json"):
        record = note.with_name("RECORD")
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if f"/{note.name}," not in line))
        note.unlink()


def _python() -> Path:
    """Return the file system with Python, which is created once."""
    recipe = hashlib.sha256(f"{packages.RELEASE} {INCLUDED} {Path(packages.__file__).read_text()}".encode()).hexdigest()[:16]
    cache = Path(os.environ.get("DYFF_ENGINES_DIR") or Path.home() / ".cache/dyff-engines").absolute()
    kept = cache / f"image-python-{recipe}"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".image-") as folder:
            packages.file_system(Path(folder) / "root", INCLUDED, Path(folder) / "tool")
            (Path(folder) / "root").rename(kept)
    return kept


RECIPES = {
    "dyff": Recipe(NAME, "image/Dockerfile", CONFIG, _install_dyff),
    "analysis": Recipe(
        f"{analysis_settings.DEFAULT_IMAGE}:latest", "image/Dockerfile.analysis", {**CONFIG, "Entrypoint": ["python3"]}, _install_analysis
    ),
}


if __name__ == "__main__":
    main()
