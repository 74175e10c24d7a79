"""Run a method that is a Jupyter notebook, and make a page of it."""

from __future__ import annotations

import json
import os
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import loading, places
from .failures import RUN_FAILED, Failed, sentence

if TYPE_CHECKING:
    from .reporting import Reports

MAX_NOTEBOOK_BYTES = 2**26
"""Of the notebook's file, with the outputs that are saved in it, which are not used."""
MAY_RAISE, SKIPPED = "raises-exception", "skip-execution"
"""Tags of cells, as nbclient knows them."""
PAGE = "index.html"


def run(place: places.Place, implementation: dict[str, Any], reports: Reports) -> None:
    """Run all cells in their order, and write the page. The first cell that raises ends the run.

    Raises:
        Failed: the file is not there, or it is no notebook in Python.
    """
    path = found(place, str(implementation.get("notebookModule") or ""), str(implementation.get("notebookPath") or ""))
    notebook = read(path)
    from . import cells, pages
    from .outputs import Outputs
    from .streams import Streams

    def exceeded(said: str) -> None:
        at = reports.here(threading.main_thread().ident)
        reports.failed(RUN_FAILED, sentence(said, at), at)

    outputs = Outputs(place.limits.cell_bytes, place.limits.file_bytes, exceeded)
    streams = Streams(outputs.text)
    reports.before = streams.restore
    shell = cells.shell(outputs, streams)
    number, numbers = 0, {}
    for index, cell in enumerate(notebook["cells"]):
        tags = cell.get("metadata", {}).get("tags", [])
        if cell["cell_type"] != "code" or not cell["source"].strip() or SKIPPED in tags:
            continue
        number += 1
        numbers[index] = number
        error = cells.run(shell, number, cell["source"], streams.print)
        if error is not None and (MAY_RAISE not in tags or isinstance(error, (SystemExit, MemoryError))):
            reports.raised(error, printed=True, cell=number)
    streams.restore()
    made = [{**cell, "outputs": outputs.cells.get(numbers.get(index, 0), [])} for index, cell in enumerate(notebook["cells"])]
    title = str(place.method.get("name") or "Report")
    (place.result / PAGE).write_text(pages.page(made, title=title, folder=path.parent, module=_module(place, path)), encoding="utf-8")


def found(place: places.Place, module: str, relative: str) -> Path:
    """Find the notebook's file, in its module.

    Raises:
        Failed: it is not there, or not inside of the module.
    """
    if module not in place.modules:
        raise Failed(f"the method's notebookModule {module!r} is not one of its modules")
    folder = Path(os.path.realpath(place.root / module))
    path = Path(os.path.realpath(folder / relative))
    if not relative or not path.is_relative_to(folder):
        raise Failed(f"the method's notebookPath {relative!r} is not a path inside of the module")
    if not path.is_file():
        here = folder
        for part in Path(relative).parts[:-1]:
            here = here / part if (here / part).is_dir() else here
        inside = loading.shown(each.name for each in here.iterdir()) if here.is_dir() else "nothing"
        where = f"its folder {here.relative_to(folder)}" if here != folder else "it"
        raise Failed(f"the module {module} has no file {relative!r}, which the method's notebookPath names; {where} has {inside}")
    return path


def read(path: Path) -> Any:
    """Read a notebook, in the present form of its format.

    Raises:
        Failed: it is not a notebook, or it is in another language.
    """
    with path.open("rb") as file:
        content = file.read(MAX_NOTEBOOK_BYTES + 1)
    if len(content) > MAX_NOTEBOOK_BYTES:
        raise Failed(f"{path.name} is larger than {MAX_NOTEBOOK_BYTES} bytes; clear its outputs, which are not used")
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Failed(f"{path.name} is not a Jupyter notebook: it is not JSON ({error})") from error
    if not isinstance(document, dict) or not isinstance(document.get("nbformat"), int):
        raise Failed(f"{path.name} is not a Jupyter notebook: it is JSON, but has no nbformat")
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about IDs of cells, which old notebooks lack
            notebook = nbformat.reads(json.dumps(document), as_version=4)
            nbformat.validate(notebook)
    except Exception as error:  # the library raises many kinds, also of its own mistakes with documents that are odd
        first = str(error).strip().partition("\n")[0]
        raise Failed(f"{path.name} is not a valid Jupyter notebook: {first}") from error
    language = (notebook.metadata.get("kernelspec") or {}).get("language") or (notebook.metadata.get("language_info") or {}).get("name")
    if language and str(language).lower() not in ("python", "python3", "ipython"):
        raise Failed(f"{path.name} is a notebook in {language}; only Python is supported")
    return notebook


def _module(place: places.Place, path: Path) -> Path:
    return next((Path(each) for each in place.module_folders() if path.is_relative_to(each)), path.parent)
