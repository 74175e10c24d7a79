"""How this server confines programs of accounts on its own machine: chosen at the start, reported, and examined by `dyff doctor`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future

import anyio.to_thread
import structlog

from dyff.cluster.pods.isolation import describing, tiers
from dyff.kernel import degradation, errors, settings
from dyff.serve import directory

log = structlog.get_logger()

TROUBLE = "isolation of pods"


def begin(loaded: settings.Settings, place: directory.DataDirectory) -> Future[describing.Sandboxes]:
    """Begin to choose the tier, in a thread, while the server opens its stores. `place`: exists."""
    result: Future[describing.Sandboxes] = Future()

    def choose() -> None:
        try:
            result.set_result(tiers.choose(loaded.pods, place.pods, _hidden(loaded, place)))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=choose, name="isolation", daemon=True).start()
    return result


async def chosen(begun: Future[describing.Sandboxes], troubles: degradation.Troubles) -> describing.Sandboxes:
    """Wait for the tier, and report it in the log; as a trouble of `/ready`, too, if programs of accounts must be refused."""
    found = await anyio.to_thread.run_sync(begun.result)
    if found.tier is None:
        troubles.report(TROUBLE, found.reason)
    elif found.tier == "none":
        log.warning("isolation", tier="none", reason=found.reason)
    else:
        log.info("isolation", tier=found.tier, reason=found.reason, own_users=found.own_users)
    return found


def sentence(found: describing.Sandboxes) -> str:
    """For the message at the start."""
    if found.tier is None:
        return f"REFUSED: {found.reason}"
    if found.tier == "none":
        return f"NOT ISOLATED: {found.reason}"
    return f"isolated by {found.tier}: {found.reason}"


def _hidden(loaded: settings.Settings, place: directory.DataDirectory) -> list[str]:
    secrets = loaded.pods.secrets_dir
    return [str(place.root), *([secrets] if secrets is not None else [])]


def doctor(loaded: settings.Settings) -> Iterator[str]:
    """Probe all tiers, and yield the lines of a report. Works while the server runs.

    Without a data directory, it uses a folder where that would be, for that time.

    Raises:
        Misconfigured: no folder can be made there.
        Unavailable: programs of accounts would be refused. Raised at the end.
    """
    with directory.DataDirectory(loaded.data_dir).for_trial() as place:
        place.provide_scratch()
        hidden = _hidden(loaded, place)
        tried = [tiers.probe(tier, loaded.pods, place.pods, hidden) for tier in tiers.ORDER]
    for each in tried:
        yield from _lines(each)
    chosen = tiers.best(loaded.pods, tried)
    yield f"setting pods.isolation: {loaded.pods.isolation}"
    yield f"pods: {sentence(chosen)}"
    if chosen.tier is None:
        raise errors.Unavailable("programs of accounts are refused on this machine; the lines above say why and what to do")


def _lines(found: tiers.Tried) -> Iterator[str]:
    holds = found.examination.holds
    yield f"{found.name}: {'holds' if holds else 'does not hold'}: {found.reason}"
    for name, reached in found.examination.attacks.items():
        yield f"  {'refused' if reached is None else 'REACHED'}  {name.replace('_', ' ')}{f': {reached}' if reached else ''}"
    if not holds:
        yield f"  fix: {found.fix}"
