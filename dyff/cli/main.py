"""The entry point of the command `dyff`, which the package `dyff-sdk` installs.

The commands that use a server are here. Those of the server, such as `dyff serve`, are in `dyff-platform`: if it is installed, its group is
the command, and has these commands, too. Without it, and on other systems than Linux, the names of its commands say what to do.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

import click

from dyff.cli import commands, reporting, server_commands

_SERVER = "dyff.serve.cli"
"""The module with the server's group, `main`. The client knows nothing else of the server."""


@click.group(cls=server_commands.Explaining, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="dyff-sdk", prog_name="dyff")
def client() -> None:
    """Use a Dyff server: audits of AI systems whose results can be trusted."""


for _each in commands.ALL:
    client.add_command(_each)


def main() -> None:
    """Run the command line of this process."""
    reporting.prepare()
    if sys.platform == "linux" and _has_server():
        importlib.import_module(_SERVER).main()
    else:
        client(prog_name="dyff")


def _has_server() -> bool:
    try:
        return importlib.util.find_spec(_SERVER) is not None
    except ModuleNotFoundError:  # not even the package that would have it
        return False
