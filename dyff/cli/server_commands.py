"""The names of the server's commands, and what to do where they cannot run."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from dyff.cli import reporting

NAMES = (
    "account", "audit-log", "backup", "config", "docs", "doctor", "manifests", "migrate", "replay", "restore", "serve", "token", "verify",
)  # fmt: skip
"""Commands that `dyff-platform` adds (a test compares them). A command that uses a server cannot have one of these names."""

_ELSEWHERE = (
    "To use a server that runs elsewhere, run 'dyff login URL', or set DYFF_API_ENDPOINT and DYFF_API_TOKEN; 'dyff --help' lists what you "
    "can do here"
)
_LINUX_ONLY = (
    "The server runs on Linux only: it confines programs by means of the Linux kernel, and runs them under its supervision. On this system "
    "({system}), run it in a container (the image of 'make image', with Docker Desktop or Podman){wsl}"
)
_WSL = ", or in WSL 2 ('wsl --install', then 'pip install dyff-platform' in there)"
_SYSTEMS = {"darwin": "macOS", "win32": "Windows", "cygwin": "Windows"}


def advice(system: str) -> str:
    """Why there is no server here, and what to do. `system`: as in `sys.platform`."""
    if system == "linux":
        return f"The server is another package: pip install dyff-platform. {_ELSEWHERE}"
    name = _SYSTEMS.get(system, system)
    return f"{_LINUX_ONLY.format(system=name, wsl=_WSL if name == 'Windows' else '')}. {_ELSEWHERE}"


class Explaining(click.Group):
    """A group without the server's commands. Their names say what to do."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or (_explanation(cmd_name) if cmd_name in NAMES else None)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands of the server"):
            formatter.write_text(", ".join(NAMES))
            formatter.write_paragraph()
            formatter.write_text(f"{advice(sys.platform)}.")


def _explanation(name: str) -> click.Command:
    """A command that takes any arguments, and explains."""

    @click.command(name, context_settings={"ignore_unknown_options": True, "help_option_names": []}, hidden=True)
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
    def explain(rest: tuple[str, ...]) -> NoReturn:
        reporting.stop(f"'dyff {name}' is a command of the server. {advice(sys.platform)}.", reporting.WRONG)

    return explain
