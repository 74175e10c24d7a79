"""What happens when the embedded view turns out to be damaged: nothing of it is served until a new one is as far as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import anyio
import apsw

from dyff.kernel import degradation, errors, sqlite
from dyff.query import port, tables

TROUBLE = "query store"


class Damage:
    """Whether the view in the file `path` is damaged, or is being filled again since it was. Used in one event loop."""

    def __init__(self, path: Path, troubles: degradation.Troubles) -> None:
        """Not damaged. `troubles`: where it is reported."""
        self._path, self._troubles = path, troubles
        self._found = anyio.Event()
        self._needed: Mapping[int, int] = {}

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Like `sqlite.translated`, and takes notice of damage.

        Raises:
            Unavailable: also if the view is damaged.
        """
        try:
            with tables.translated():
                yield
        except errors.Damaged as error:
            self._troubles.report(TROUBLE, f"{error.message}; {self._path} is replaced and filled again from the log")
            self._found.set()
            raise _unavailable() from error

    def require_none(self, reached: port.Reached) -> None:
        """Verify that the view can be read. `reached`: its position.

        Raises:
            Unavailable: it is damaged, or not yet as far as before.
        """
        if self._found.is_set() or not self._is_far_enough(reached):
            raise _unavailable()

    async def wait(self) -> None:
        """Return when the view is damaged."""
        await self._found.wait()

    def replaced(self, had: port.Reached) -> None:
        """Report that the view is a new, empty one. `had`: the position of the old one."""
        self._needed = {each: max(end, self._needed.get(each, 0)) for each, end in had.state.items()} or self._needed
        self._found = anyio.Event()

    def repaired(self, reached: port.Reached) -> None:
        """Report a new position."""
        if self._needed and self._is_far_enough(reached):
            self.forget_position()

    def forget_position(self) -> None:
        """Report that the old position means nothing any more."""
        self._needed = {}
        if not self._found.is_set():
            self._troubles.clear(TROUBLE)

    def _is_far_enough(self, reached: port.Reached) -> bool:
        return all(reached.state.get(partition, 0) >= end for partition, end in self._needed.items())


def replaced(path: Path, opened: Callable[[Path], apsw.Connection]) -> apsw.Connection:
    """Open a new view in the place of a damaged one. Blocks."""
    sqlite.remove(path)
    return opened(path)


def _unavailable() -> errors.Unavailable:
    return errors.Unavailable(f"{tables.NAME} was damaged and is being filled again from the log; try again", retry_after_s=5.0)
