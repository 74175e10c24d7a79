"""`dyff completion`: what a shell needs to complete commands, kinds and IDs."""

from __future__ import annotations

import click
from click import shell_completion

from dyff.cli import reporting

_VARIABLE = "_DYFF_COMPLETE"
_SHELLS: dict[str, type[shell_completion.ShellComplete]] = {
    "bash": shell_completion.BashComplete, "zsh": shell_completion.ZshComplete, "fish": shell_completion.FishComplete,
}  # fmt: skip


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
def completion(shell: str) -> None:
    r"""Print the completion for a SHELL: bash (4.4 or later), zsh or fish.

    \b
    bash   echo 'eval "$(dyff completion bash)"' >> ~/.bashrc
    zsh    echo 'eval "$(dyff completion zsh)"' >> ~/.zshrc
    fish   dyff completion fish > ~/.config/fish/completions/dyff.fish
    """
    complete = _SHELLS[shell](click.get_current_context().find_root().command, {}, "dyff", _VARIABLE)
    # Not `source()`: of bash, it starts one to look at its version.
    reporting.line(complete.source_template % complete.source_vars())
