"""Environments of analyses on this machine: which Python interpreter stands for a container image with the packages of methods."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from dyff.cluster.pods import refusals
from dyff.cluster.pods.isolation import machine
from dyff.kernel import analysis_settings, images, settings

SETTING = "analyses.environments"
FOLDER = ".venv-analysis"
"""The environment that `make analysis-env` makes, next to that of the server."""


def find(known: Mapping[str, str], reference: str, prefix: str = sys.prefix) -> settings.Image:
    """How a program is run in the environment of an image. `known`: the setting. `prefix`: of the server's own environment.

    Raises:
        Refused: there is no interpreter for it on this machine; the message says how to get one.
    """
    python = known.get(reference) or images.setting(known, reference) or _default(reference, prefix)
    if python is None:
        raise refusals.Refused(refusals.NO_IMAGE, _advice(reference))
    if not os.access(python, os.X_OK) or os.path.isdir(python):
        # Accounts read this: it does not show where the server keeps its programs.
        message = f"the setting {SETTING} names no program that can be executed for the image {reference!r}"
        raise refusals.Refused(refusals.NO_IMAGE, f"{message}; name the Python interpreter of an environment")
    return settings.Image(command=(python, "-I"), readiness_path=None, paths=_installation(python))


def _default(reference: str, prefix: str) -> str | None:
    """The interpreter of the environment that is made for methods that name no image. The whole reference is compared."""
    python = _made(prefix)
    return str(python) if reference == analysis_settings.DEFAULT_IMAGE and python.exists() else None


def _made(prefix: str) -> Path:
    return Path(prefix).absolute().parent / FOLDER / "bin" / "python"


def _installation(python: str) -> tuple[str, ...]:
    """What the interpreter needs to see that is neither the system's nor a virtual environment, which a sandbox shows anyway."""
    plain = machine.plain(python)
    folder = os.path.dirname(os.path.dirname(plain))
    if machine.is_of_system(plain) or folder in ("", "/") or os.path.exists(os.path.join(folder, "pyvenv.cfg")):
        return ()
    return (folder,)


def _advice(reference: str) -> str:
    name = images.bare(reference)
    setting = f"{SETTING}:\n  {name}: /path/to/environment/bin/python"
    if reference == analysis_settings.DEFAULT_IMAGE:
        return (
            f"there is no environment for methods ({FOLDER}) next to that of the server. Run 'make analysis-env', or set {SETTING} and "
            f"start the server again:\n{setting}"
        )
    return (
        f"the setting {SETTING} has no environment for the image {reference!r}. Make one with the packages of that image, add its Python "
        f"interpreter to the settings file, and start the server again:\n{setting}"
    )
