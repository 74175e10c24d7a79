"""Run the cells of a notebook in this process, with IPython's shell but without a kernel.

A kernel would need sockets, which are refused where analyses run, and a second to start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from .outputs import Outputs
from .streams import Streams


class Compiler(CachingCompiler):
    """Names the code of a cell by the cell's number, so that tracebacks have it."""

    number = 0

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        return f"<cell {self.number}>"


class Publisher(DisplayPublisher):
    """Takes what is displayed."""

    def publish(
        self,
        data: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
        source: object = None,
        *,
        transient: Mapping[str, Any] | None = None,
        update: bool = False,
        **_: object,
    ) -> None:
        shell: Shell = self.shell
        shell.streams.settle()
        name = (transient or {}).get("display_id")
        if update and name is not None:
            shell.collected.update(data, metadata, name)
        else:
            shell.collected.bundle("display_data", data, metadata, name)

    def clear_output(self, wait: bool = False) -> None:
        shell: Shell = self.shell
        shell.streams.settle()
        shell.collected.clear(wait)


class Hook(DisplayHook):
    """Takes the value of a cell's last expression."""

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: Mapping[str, Any], md_dict: Mapping[str, Any] | None = None) -> None:
        shell: Shell = self.shell
        if format_dict:
            shell.streams.settle()
            shell.collected.bundle("execute_result", format_dict, md_dict)

    def finish_displayhook(self) -> None:
        self._is_active = False


class Shell(InteractiveShell):
    """IPython's shell, with the outputs of this run."""

    collected: Outputs
    streams: Streams
    system = InteractiveShell.system_raw
    """Without a terminal of its own, which there may be none of."""

    def ask_exit(self) -> None:
        raise SystemExit(0)

    def enable_gui(self, gui: str | None = None) -> None:
        """There is no screen."""

    def _showtraceback(self, etype: type[BaseException], evalue: BaseException, stb: list[str]) -> None:
        self.streams.settle()
        self.streams.print("\n".join(stb) + "\n")
        self.collected.error(etype.__name__, str(evalue), stb)


def shell(outputs: Outputs, streams: Streams) -> Shell:
    """Make the shell of this process."""
    startup = Path(os.environ["IPYTHONDIR"]) / "profile_default/startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "README").touch()  # IPython would copy one with its permissions, which the local cluster may refuse
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    config = Config()
    config.HistoryManager.enabled = False
    config.InlineBackend.figure_formats = {"retina"}
    Shell.collected, Shell.streams = outputs, streams
    made: Shell = Shell.instance(
        config=config, colors="nocolor", display_pub_class=Publisher, displayhook_class=Hook, compiler_class=Compiler, banner1=""
    )
    return made


def run(made: Shell, number: int, source: str, note: Callable[[str], None]) -> BaseException | None:
    """Run one cell, to the end of what it printed.

    Args:
        made: the shell.
        number: the cell's, as in `In [1]`.
        source: its code.
        note: called with a line for the log.

    Returns:
        What it raised; None if it has run.
    """
    made.compile.number = number
    made.collected.begin(number)
    note(f"[dyff] cell {number}\n")
    done = made.run_cell(source, store_history=True)
    made.streams.settle()
    error: BaseException | None = done.error_before_exec or done.error_in_exec
    return error
