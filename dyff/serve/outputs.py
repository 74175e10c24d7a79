"""What this process writes about itself: the log, the audit log and traces. A fault of them is a trouble, and never stops anything else."""

from __future__ import annotations

from typing import Protocol

from dyff.kernel import degradation, lines

EVERY_S = 1.0
LOG = "log output"
AUDIT = "audit log"
TRACES = "traces"


class Output(Protocol):
    """One of them."""

    def look(self) -> lines.State:
        """How the writing goes. Does not block for long."""


class Outputs:
    """All outputs of a process."""

    def __init__(self, log: Output, audit: Output | None, troubles: degradation.Troubles, traces: Output | None = None) -> None:
        """`audit`, `traces`: None for none."""
        self._outputs = {LOG: log} | ({AUDIT: audit} if audit is not None else {}) | ({TRACES: traces} if traces is not None else {})
        self._troubles = troubles
        self._lost = dict.fromkeys(self._outputs, 0)

    def lost(self) -> dict[str, int]:
        """How many lines or spans of each output were lost since the start."""
        return dict(self._lost)

    async def watch(self) -> None:
        """Report troubles until cancelled."""
        await degradation.keep_doing(self.look, name="outputs", every_s=EVERY_S, troubles=self._troubles)

    async def look(self) -> None:
        """Look at all once."""
        for name, output in self._outputs.items():
            state = output.look()
            self._lost[name] = state.lost
            if state.reason is None:
                self._troubles.clear(name)
            else:
                what = "spans cannot be sent" if name == TRACES else "lines cannot be written"
                self._troubles.report(name, f"{what} ({state.reason}); what does not fit in memory is lost and counted")
