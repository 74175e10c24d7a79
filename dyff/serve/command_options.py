"""Options that several commands of `dyff` have. Their environment variables are read by the settings, which know the origin of a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def _setting(*names: str, variable: str, text: str, **more: Any) -> Callable[[F], F]:
    """An option that is a setting, too. Click must not read the variable: the value would seem to come from the flag."""
    return click.option(*names, help=f"{text}  [env var: {variable}]", **more)


data_dir = _setting("--data-dir", variable="DYFF_DATA_DIR", metavar="DIR", text="Where everything lives.")
config = _setting("--config", variable="DYFF_CONFIG_FILE", metavar="FILE", text="Settings in YAML ('dyff docs settings').")
host = _setting("--host", variable="DYFF_API__HOST", text="Address to listen on, by default 127.0.0.1.")
port = _setting("--port", variable="DYFF_API__PORT", type=int, text="Port to listen on, by default 8000; 0 for a free one.")
log_level = _setting("--log-level", variable="DYFF_LOG_LEVEL", text="debug, info, warning or error; by default info.")
dry_run = click.option("--dry-run", is_flag=True, help="Only print what would be done.")


class _RoleOption(click.Option):
    """Names the roles in its help. They are imported only for that, since the table of roles imports much."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from dyff.serve import roles

        self.help = f"{roles.ALL}, or a comma-separated list of {', '.join(roles.names(roles.TABLE))}."
        return super().get_help_record(ctx)


role = click.option("--role", cls=_RoleOption, default="all", show_default=True, metavar="ROLES")
