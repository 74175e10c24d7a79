"""Extras of the package `dyff-platform`: clients of engines, which a laptop does not need and does not install.

An extra is here and in `pyproject.toml` (a test compares them). What opens an engine asks `require` first, so that a missing client
is one sentence with a command, and not a traceback.
"""

from __future__ import annotations

import importlib.util

from dyff.kernel import errors

MODULES = {
    "kafka": ("aiokafka", "cramjam"),
    "mongodb": ("motor", "pymongo"),
    "kubernetes": ("kubernetes_asyncio", "aiohttp"),
    "cloud": ("obstore",),
    "otlp": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
}
"""By the name of the extra: the modules that it installs and that we import."""


def lacking(extra: str) -> list[str]:
    """The modules of an extra that are not installed."""
    return [name for name in MODULES[extra] if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package that it belongs to
        return False


def command(extra: str) -> str:
    """The command that installs an extra, for a shell."""
    return f"pip install 'dyff-platform[{extra}]'"


def problem(extra: str) -> str | None:
    """What is missing, as the end of a sentence whose subject is a setting; None if the extra is installed."""
    absent = lacking(extra)
    return f"it needs {' and '.join(absent)}, which this installation of Dyff does not have" if absent else None


def require(extra: str, setting: str) -> None:
    """Refuse what needs an extra that is not installed. `setting`: the setting, or the variable, that asks for it.

    Raises:
        Misconfigured: it is not installed; the message has the command that installs it.
    """
    if (what := problem(extra)) is not None:
        raise errors.Misconfigured(f"settings: {setting}: {what}; install it: {command(extra)}")
