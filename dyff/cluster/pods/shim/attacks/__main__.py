"""Runs all attacks, each in a process of its own, and prints how they ended as one line of JSON: by name, what was reached, or null.

The first argument is JSON: what to attack, see `dyff.cluster.pods.isolation.targets`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys

from dyff.cluster.pods.shim.attacks import files, network, others, system

TYPE_CHECKING = False  # see `shim.files`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Attack = Callable[[dict[str, Any]], str | None]

ALL: dict[str, Attack] = {
    attack.__name__: attack
    for module in (files, others, network, system)
    for attack in vars(module).values()
    if callable(attack) and getattr(attack, "__module__", "") == module.__name__ and not attack.__name__.startswith("_")
}
EACH_S = 5.0
"""An attack that takes longer has not succeeded, and is killed."""
_REPLY_BYTES = 4000


def run(name: str, at: dict[str, Any]) -> str | None:
    """Try one attack in a child process. Returns what it reached; None if it was stopped."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            reached = ALL[name](at)
            if reached:
                os.write(writer, reached.encode(errors="replace")[:_REPLY_BYTES])
        except BaseException as error:
            if not isinstance(error, OSError):
                os.write(writer, f"the attack itself is wrong: {type(error).__name__}: {error}".encode()[:_REPLY_BYTES])
        os._exit(0)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], EACH_S)
    said = os.read(reader, _REPLY_BYTES).decode(errors="replace") if ready else ""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    return said or None


def main() -> None:
    """Try all attacks, or those that are named after the first argument."""
    at = json.loads(sys.argv[1])
    parent = os.getppid()
    at["shim"] = parent if parent > 1 else 0  # in a numbering of our own, 1 is a process of the sandbox
    sys.stdout.write(json.dumps({name: run(name, at) for name in sys.argv[2:] or ALL}) + "\n")


if __name__ == "__main__":
    main()
