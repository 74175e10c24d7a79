"""Prepares the folder that the program of an analysis reads: our runner, what to run, the inputs and the modules.

Run it as `python -m dyff.workflows fetch-analysis --manifest FILE [--destination DIR]`. Environment: `DYFF_STORAGE_URL`. It fills DIR:

    .dyff/runner/         the runner
    .dyff/packages/       what the code can import in addition to its environment: dyff.stats
    .dyff/analysis.json   {"spec": <the custom resource's spec>}
    .dyff/limits.json     what the program may use, see `dyff.workflows.manifests.Limits`
    .dyff/inputs.json     by ID of each input and module: its Arrow schema (or null), the number of its files, the digest of its manifest
    <ID>/...              the files of each input and module, verified

Another user runs the program, so everything can be read by all users. Nothing can be written. It can be repeated in the same folder.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import anyio.to_thread
import msgspec

from dyff.entities import analysis_data, codecs
from dyff.kernel import errors
from dyff.objects.manifests import MAX_ENTRIES
from dyff.workflows import analysis_inputs, copying, endings, manifests, provided, space

DESTINATION = Path(analysis_data.IN_DIR)
RUNNER = Path(__file__).parent / "analysis_runner"
_OWN = ".dyff"
_RUNNER_LIMITS = ("timeout_s", "memory_bytes", "log_bytes", "file_bytes", "cell_bytes")


def main(arguments: list[str]) -> int:
    """Run the step and return its exit code."""
    return endings.run(lambda: _step(arguments))


async def _step(arguments: list[str]) -> None:
    parser = endings.Arguments(prog="fetch-analysis")
    parser.add_argument("--manifest", required=True, type=Path, help="the manifest file, JSON")
    parser.add_argument("--destination", default=DESTINATION, type=Path, help="the directory to fill; it is made if it is not there")
    given = parser.parse_args(arguments)
    manifest, store = manifests.load(given.manifest, manifests.Analysis), manifests.store()
    found = await analysis_inputs.all_trees(store, manifest.spec)
    _check_size(found, manifest.limits.input_bytes)
    destination: Path = given.destination
    inputs = {source.id: {"schema": each.schema, "files": len(each.artifacts), "sha256": each.sha256} for source, each in found.items()}

    def begin() -> None:
        _open(destination)
        copy_runner(RUNNER, destination / _OWN / "runner")
        provided.copy(provided.SOURCE, destination / _OWN / provided.PACKAGES)
        write_documents(destination / _OWN, manifest, inputs)
        for source in found:
            (destination / source.id).mkdir(exist_ok=True)

    await _on_disk(begin)
    await copying.copy(store, [copying.Tree(each.artifacts, each.links, destination / source.id) for source, each in found.items()])
    await _on_disk(lambda: _close(destination))
    files, size_bytes = sum(len(each.artifacts) for each in found.values()), sum(each.size_bytes for each in found.values())
    endings.say(f"done: {files} files, {size_bytes} bytes, of {len(found)} inputs and modules, in {destination}")


async def _on_disk(work: copying.Work) -> None:
    """Do what writes to the destination, in a thread. While the disk is full, wait, and do it again."""
    await space.when_there_is(lambda: anyio.to_thread.run_sync(copying.writing, work))


def _check_size(found: Mapping[analysis_inputs.Source, analysis_inputs.Tree], limit_bytes: int) -> None:
    """Raises Ending if the data has more bytes or files than an analysis may read."""
    sizes = {str(source): each.size_bytes for source, each in found.items()}
    if (total := sum(sizes.values())) > limit_bytes:
        largest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
        listed = ", ".join(f"{name}: {size}" for name, size in largest)
        raise endings.Ending(
            endings.WRONG_DATA,
            f"The inputs and modules have {total} bytes ({listed}), more than the {limit_bytes} of the setting analyses.input_bytes. "
            f"Use smaller ones, or raise the setting.",
        )
    if (files := sum(len(each.artifacts) + len(each.links) for each in found.values())) > MAX_ENTRIES:
        message = f"The inputs and modules have {files} files, more than {MAX_ENTRIES}. Use fewer, or ones with fewer files."
        raise endings.Ending(endings.WRONG_DATA, message)


def copy_runner(source: Path, destination: Path) -> None:
    """Copy the runner's files, without what Python has compiled. What is at the destination is replaced.

    Raises:
        Misconfigured: it is not there.
        OSError: the destination cannot be written.
    """
    if not (source / "__main__.py").is_file():
        raise errors.Misconfigured(f"this installation is incomplete: {source} must have the runner of analyses; install Dyff again")
    if destination.exists():
        shutil.rmtree(destination)
    shutil.copytree(source, destination, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def write_documents(folder: Path, manifest: manifests.Analysis, inputs: Mapping[str, codecs.Json]) -> None:
    """Write the files that describe the run. `folder`: the runner's, `.dyff`. `inputs`: what `inputs.json` has.

    Raises:
        OSError: they cannot be written.
    """
    limits = {name: getattr(manifest.limits, name) for name in _RUNNER_LIMITS}
    texts = {"analysis.json": {"spec": msgspec.to_builtins(manifest.spec)}, "limits.json": limits, "inputs.json": inputs}
    for name, value in texts.items():
        (folder / name).unlink(missing_ok=True)  # that of an earlier attempt cannot be written
        (folder / name).write_bytes(codecs.encode(value))


def _open(destination: Path) -> None:
    """Make the destination, and make what an earlier attempt left there writable again."""
    (destination / _OWN).mkdir(parents=True, exist_ok=True)
    for folder, _ in _folders(destination):
        with suppress(PermissionError):  # the destination itself can be a mount of another user
            folder.chmod(0o755)


def _close(destination: Path) -> None:
    """Let everyone read everything and change nothing."""
    for folder, files in reversed(list(_folders(destination))):
        for file in files:
            file.chmod(0o444)
        with suppress(PermissionError):
            folder.chmod(0o555)


def _folders(top: Path) -> Iterator[tuple[Path, list[Path]]]:
    """The folders from `top` down, each with its files, without links. A folder is looked into after it was given."""
    yield top, [entry for entry in _entries(top) if stat.S_ISREG(entry.lstat().st_mode)]
    for entry in _entries(top):
        if stat.S_ISDIR(entry.lstat().st_mode):
            yield from _folders(entry)


def _entries(folder: Path) -> list[Path]:
    return [folder / name for name in sorted(os.listdir(folder))]
