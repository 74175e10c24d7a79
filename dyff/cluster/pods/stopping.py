"""Ending a pod's processes: gently through the shim, and by hand where the shim is gone. Everything here blocks: use a thread."""

from __future__ import annotations

import signal

from dyff.cluster.pods import directory, leftovers
from dyff.cluster.pods.shim import files, processes


def ask(place: directory.Directory, record: directory.Record, cause: str, grace_s: float) -> None:
    """Tell a shim to end its containers within `grace_s` seconds; `cause` is what the record will say."""
    place.request_stop(record.run, cause, grace_s)
    if not files.is_free(place.lock):  # otherwise it has ended, and its number may be another's
        processes.signal_exactly(record.shim.pid, record.shim.ticks, signal.SIGTERM)


def settle(place: directory.Directory) -> int:
    """Bring a run whose shim is gone to its end: kill what is left of it, then record that. How many were killed.

    Does nothing if a shim lives after all or has recorded the end itself.

    Raises:
        TimeoutError: some processes would not die.
    """
    with files.taken(place.lock) as free:
        facts = place.facts_under_lock()
        if not free or facts.intent is None or (facts.record and facts.record.finished):
            return 0
        killed = leftovers.end(place, facts.record)
        place.conclude(facts.intent, facts.record, processes.boot())
        return killed
