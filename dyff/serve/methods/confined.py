"""Runs one program of an analysis in a pod of its own, confined as those of the server, without a server."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from dyff.cluster.pods import directory, environment, environments, refusals, removal, specs, starting
from dyff.cluster.pods.isolation import describing, tiers, users
from dyff.cluster.pods.shim import rlimits
from dyff.entities import analysis_data
from dyff.kernel import analysis_settings, clock, errors, settings

ORPHAN_GRACE_S = 2.0
"""How long the program goes on after this process has ended."""
GRACE_S = 5.0
END_S = 60.0
"""The program's own supervisor bounds its time. The pod has so much more."""
_LOOK_S = 0.05
_NAME = "run"


@contextmanager
def prepared(environment_path: str | None, *, isolated: bool) -> Iterator[Run]:
    """A run that can be started once. Its folders are removed at the end. `environment_path`: an interpreter; None for the default.

    Raises:
        Unavailable: no isolation holds on this machine.
        Misconfigured: there is no environment.
    """
    folder = Path(tempfile.mkdtemp(prefix="dyff-method-"))
    try:
        with open(folder / "server.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield Run(folder, _image(environment_path), _sandboxes(folder) if isolated else describing.UNCONFINED)
    finally:
        removal.remove(str(folder))


class Run:
    """One run. `inside`, `out`: its folders, as this process sees them. `tier`: the name of its isolation."""

    def __init__(self, folder: Path, image: settings.Image, sandboxes: describing.Sandboxes) -> None:
        self._folder, self._image, self._sandboxes = folder, image, sandboxes
        self._place = directory.Directory(folder, secrets.token_hex(8))
        self.inside, self.out = (self._place.place.volumes / each for each in ("dyff-in", "dyff-out"))
        self.tier = str(sandboxes.tier)
        for each in (self.inside, self.out):
            each.mkdir(parents=True)

    def start(self, timeout_s: float, printed: Callable[[str], None]) -> str | None:
        """Run the program to its end. `printed`: called with each line of its log as it comes.

        Returns:
            Why the program itself could not do its work; None if it has left an outcome.
        """
        try:
            self._spawn(timeout_s)
            outcome = self._follow(printed)
        except refusals.Refused as refused:
            raise errors.Unavailable(refused.message) from refused
        except BaseException:
            self._stop()
            raise
        if outcome.exit_code == 0:
            return None
        return outcome.message.strip().rpartition("\n")[2] or f"it ended with exit code {outcome.exit_code}"

    def _spawn(self, timeout_s: float) -> None:
        place = self._place
        sandboxes = self._sandboxes
        config = starting.NodeConfig(str(self._folder / "server.lock"), sys.executable, settings.Pods(), sandboxes)
        mounts = (specs.Mount("dyff-in", analysis_data.IN_DIR, read_only=True), specs.Mount("dyff-out", analysis_data.OUT_DIR))
        container = specs.Container(_NAME, image=analysis_settings.DEFAULT_IMAGE, args=analysis_data.RUNNER, volume_mounts=mounts)
        empty = tuple(specs.Volume(each.name, empty_dir={}) for each in mounts)
        pod = specs.Pod(specs.Metadata(_NAME, place.uid), specs.Spec((container,), volumes=empty))
        uid = users.choose(place.uid, None, {}, config.settings.user_numbers, rlimits.live_users()) if sandboxes.own_users else None
        subject = describing.Subject(pod, container, self._image, place.place, None, uid)
        confinement = describing.confine(sandboxes, subject)
        image = describing.program(sandboxes, self._image)
        process = environment.process(pod, container, image, describing.place(sandboxes, place.place), None)
        promised = directory.Intent(
            run=0,
            pod=_NAME,
            since=clock.iso(clock.SystemClock().now()),
            containers=[msgspec.structs.replace(process, confinement=confinement)],
            server_lock=config.server_lock,
            orphan_grace_s=ORPHAN_GRACE_S,
            log_max_bytes=config.settings.logs_max_bytes,
            grace_s=GRACE_S,
            deadline_s=timeout_s + END_S,
            uid=uid,
            mark=place.mark,
        )
        starting.promise(place, promised, {"dyff-in": {}, "dyff-out": {}})
        starting.spawn(config, place, 0)

    def _follow(self, printed: Callable[[str], None]) -> directory.Outcome:
        """Wait for the end. The pod has a deadline, so this ends."""
        log = self._place.path / f"{_NAME}.log"
        shown = 0
        while True:
            facts = self._place.facts()
            record = facts.record
            finished = record is not None and record.finished
            shown = _show(log, shown, printed)
            if finished and record is not None:
                return record.containers[_NAME]
            if record is not None and not facts.held:
                raise errors.Unavailable("the supervisor of the run was killed; run it again")
            time.sleep(_LOOK_S)

    def _stop(self) -> None:
        """End the program, since this process was interrupted."""
        record = self._place.facts().record
        if record is None or record.finished:
            return
        self._place.request_stop(0, "Interrupted", 0.0)
        try:
            os.kill(record.shim.pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        end = time.monotonic() + GRACE_S
        while self._place.facts().held and time.monotonic() < end:
            time.sleep(_LOOK_S)


def _show(log: Path, shown: int, printed: Callable[[str], None]) -> int:
    """Pass on the whole lines that are new. Each has its time and stream before a space."""
    try:
        with log.open("rb") as file:
            file.seek(shown)
            data = file.read()
    except FileNotFoundError:
        return shown
    whole, newline, _ = data.rpartition(b"\n")
    for line in whole.decode(errors="replace").split("\n") if newline else ():
        printed(line.partition(" ")[2])
    return shown + len(whole) + len(newline)


def _image(path: str | None) -> settings.Image:
    known = {} if path is None else {analysis_settings.DEFAULT_IMAGE: str(Path(path).absolute())}
    try:
        return environments.find(known, analysis_settings.DEFAULT_IMAGE)
    except refusals.Refused as refused:
        why = f"--environment {path}: this is no program; name the Python interpreter of an environment" if path else (
            f"there is no environment of analyses ({environments.FOLDER}) next to that of this command: run 'make analysis-env', or give "
            f"--environment /path/to/environment/bin/python"
        )  # fmt: skip
        raise errors.Misconfigured(why) from refused


def _sandboxes(folder: Path) -> describing.Sandboxes:
    found = tiers.choose(settings.Pods(), folder, [])
    if found.tier is None:
        raise errors.Unavailable(
            f"the code cannot be isolated on this machine, so it is not run: {found.reason}. If you trust it, give --no-isolation"
        )
    return found
