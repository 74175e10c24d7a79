from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dyff.cluster.pods import images
from dyff.kernel import analysis_settings, settings

ROOT = Path(__file__).parents[2]
OVERVIEW = ROOT / "ARCHITECTURE.md"
DOCUMENTS = (OVERVIEW, ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
TOKEN = re.compile(r"`([^`\n]+)`|\]\(([^)\s]+)\)")
PATH = re.compile(r"[\w.-]+(/[\w.<>-]+)*/?")
TOP = {each.name for each in ROOT.iterdir() if each.is_dir() and not each.name.startswith(".")}
PACKAGES = {each.name for each in (ROOT / "dyff").iterdir() if each.is_dir()}
IMAGES = {images.STEPS_BEFORE, images.MOCK_SERVICE, analysis_settings.DEFAULT_IMAGE}
"""Container images, whose names only look like paths."""


def setting_names(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from setting_names(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def test_every_setting_has_a_heading():
    """docs/settings.md has one heading for each setting, and none for a setting that is not there."""
    headings = [
        line.removeprefix("### ").strip("`") for line in (ROOT / "docs/settings.md").read_text().splitlines() if line.startswith("### ")
    ]
    assert sorted(headings) == sorted(setting_names(settings.Settings))


def named_paths(document: Path) -> list[str]:
    """What stands in backticks or as a link and looks like a path: it begins with a folder of ours, or is a Markdown file.

    In the overview packages stand without `dyff/`, too.
    """
    folders = TOP | PACKAGES if document == OVERVIEW else TOP
    tokens = [quoted or link for quoted, link in TOKEN.findall(document.read_text())]
    return [
        each
        for each in tokens
        if PATH.fullmatch(each) and each not in IMAGES and (("/" in each and each.split("/")[0] in folders) or each.endswith(".md"))
    ]


def exists(document: Path, path: str) -> bool:
    """From the root, from `dyff/` or from where the document is; `<word>` stands for any name."""
    pattern = re.sub("<[^>]*>", "*", path.rstrip("/"))
    return any(next(folder.glob(pattern), None) for folder in (ROOT, ROOT / "dyff", document.parent))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.relative_to(ROOT)))
def test_every_path_is_there(document):
    """Files and folders that the documentation names exist, so that a reader can follow it."""
    assert [each for each in named_paths(document) if not exists(document, each)] == []


def test_paths_are_recognised():
    """The check above sees the forms in which the overview names files, packages and families of them."""
    assert {"dyff/entities/folding.py", "entities/folding.py", "cluster/pods/", "operator/kinds/<kind>.py"} <= set(named_paths(OVERVIEW))
    assert not exists(OVERVIEW, "dyff/entities/unfolding.py")
    assert not exists(OVERVIEW, "operator/kinds/<kind>.rs")
