"""The inner process of a run: it confines itself, loads the code of the method and calls it."""

from __future__ import annotations

import argparse
import os
import random
import sys

from . import child, confining, failures, places, reporting


def main(arguments: list[str]) -> int:
    """Run the code, and report what became of it. What it raises is reported, and is not an error of this program."""
    parser = argparse.ArgumentParser(prog="analysis-runner --child")
    for name in ("--in", "--out", "--report"):
        parser.add_argument(name, dest=name.removeprefix("--").replace("in", "inside"), required=True)
    given = parser.parse_args(arguments)
    place = places.place(given.inside, given.out)
    reports = reporting.Reports(int(given.report), place.module_folders())
    child.answer_where()
    confining.limit(place.limits.memory_bytes, place.limits.file_bytes)
    confining.without_signals()  # where it is not possible, code that ends its supervisor only fails without a line
    if os.environ.pop("DYFF_CONFINE", "") == "sockets":
        confining.without_sockets()
    random.seed(int(os.environ["DYFF_SEED"]))
    try:
        run(place, reports)
        reports.flushed()
        reports.succeeded()
    except BaseException as error:
        reports.raised(error)
    return 0  # pragma: no cover - a report ends the process


def run(place: places.Place, reports: reporting.Reports) -> None:
    """Run the method, by its kind of implementation.

    Raises:
        Failed: the method cannot be run.
    """
    method = place.method
    implementation = method.get("implementation") or {}
    kind = implementation.get("kind")
    wanted = "SafetyCase" if kind == "JupyterNotebook" else "Measurement"
    declared = (method.get("output") or {}).get("kind")
    if kind not in ("PythonFunction", "PythonRubric", "JupyterNotebook"):
        raise failures.Failed(f"the method's implementation.kind is {kind!r}, which is not PythonFunction, PythonRubric or JupyterNotebook")
    if declared != wanted:
        raise failures.Failed(f"a {kind} makes a {wanted}, but the method's output.kind is {declared!r}")
    import_path(place)
    if kind == "JupyterNotebook":
        from . import notebooks

        notebooks.run(place, implementation.get("jupyterNotebook") or {}, reports)
    elif kind == "PythonRubric":
        from . import rubrics

        rubrics.run(place, implementation.get("pythonRubric") or {})
    else:
        from . import functions

        functions.run(place, implementation.get("pythonFunction") or {})


def import_path(place: places.Place) -> None:
    """Put the modules first on the import path, here and in Python processes that the code starts. What the platform provides follows."""
    folders = [*(str(place.root / each) for each in place.modules), str(place.packages)]
    sys.path[:0] = folders
    os.environ["PYTHONPATH"] = os.pathsep.join(folders)
