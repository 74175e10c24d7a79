"""The process that runs the code: start it, follow it, end it."""

from __future__ import annotations

import faulthandler
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import places, processes
from .logs import Log

REPORT_BYTES = 2**20
"""Of what the child reports; more is not a report."""
GRACE_S = 2.0
"""How long a process that has used up its time gets to print where it is."""
QUIET_S = 0.2
"""It has printed that when nothing more has come for this long."""
WHERE = signal.SIGUSR1
"""Makes the child print where it is."""
_CHUNK = 2**16
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class Running:
    """A process that runs the code, with the ends of its pipes."""

    pid: int
    output: int
    report: int
    woken: int
    status: int | None = None
    timed_out: bool = False
    reported: bytearray = field(default_factory=bytearray)


def start(place: places.Place, seed: int) -> Running:
    """Start the child. It has no input, an environment of its own, and a pipe for its report.

    It does not run with -I, which would ignore PYTHONHASHSEED: its environment is made here, and has nothing else that Python reads.
    """
    output, written = os.pipe()
    report, reported = os.pipe()
    woken, wake = os.pipe()
    for each in (output, report, woken, wake):
        os.set_blocking(each, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    folder = str(Path(__file__).parent)
    command = [sys.executable, "-s", "-u", "-X", "faulthandler", folder]
    command += ["--child", "--in", str(place.inside), "--out", str(place.out), "--report", str(reported)]
    with open(os.devnull, "rb") as nothing:
        process = subprocess.Popen(
            command, stdin=nothing, stdout=written, stderr=written, cwd=place.work, env=variables(place, seed), pass_fds=(reported,)
        )
    process.returncode = 0  # it is reaped here, with those that it leaves
    for each in (written, reported):
        os.close(each)
    return Running(process.pid, output, report, woken)


def variables(place: places.Place, seed: int) -> dict[str, str]:
    """Return the environment of the code. All that libraries write by themselves goes to the working folder."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    confined = {"DYFF_CONFINE": os.environ["DYFF_CONFINE"]} if "DYFF_CONFINE" in os.environ else {}
    work = str(place.work)
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        **kept,
        **confined,
        "HOME": work,
        "TMPDIR": f"{work}/tmp",
        "MPLCONFIGDIR": f"{work}/tmp/matplotlib",
        "FONTCONFIG_FILE": str(fonts(place)),
        "IPYTHONDIR": f"{work}/tmp/ipython",
        "PYTHONHASHSEED": str(seed),
        "PYTHONDONTWRITEBYTECODE": "1",
        "DYFF_SEED": str(seed),
        "DYFF_AUDIT_ANALYSIS_CONFIG_FILE": str(place.config),
        "DYFF_AUDIT_LOCAL_STORAGE_ROOT": str(place.root),
    }


def fonts(place: places.Place) -> Path:
    """The configuration of fontconfig. The system's is not visible here, and without one its programs print an error into documents."""
    return place.work / "tmp" / "fonts.conf"


def follow(running: Running, log: Log, timeout_s: float) -> Running:
    """Copy what the child prints until it has ended. If its time is used up, it is asked where it is, and killed."""
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        for each in (running.output, running.report, running.woken):
            selector.register(each, selectors.EVENT_READ)
        while running.status is None:
            left = deadline - time.monotonic()
            if left <= 0:
                if running.timed_out:
                    break
                running.timed_out = True
                deadline += GRACE_S
                os.kill(running.pid, WHERE)
                continue
            ready = selector.select(min(left, QUIET_S) if running.timed_out else left)
            for key, _ in ready:
                if not _read(running, key.fd, log):
                    selector.unregister(key.fd)
            running.status = processes.reap().get(running.pid)
            if running.timed_out and not ready and "(most recent call first)" in log.recent:
                break
    return running


def end(running: Running, log: Log) -> None:
    """Kill all that is left, and read what is still in the pipes."""
    status = processes.end_all().get(running.pid)
    running.status = status if running.status is None else running.status
    for each in (running.output, running.report):
        for _ in range(2**10):  # a pipe has much less
            if not _read(running, each, log):
                break
    signal.set_wakeup_fd(-1)
    for each in (running.output, running.report, running.woken):
        os.close(each)


def answer_where() -> None:
    """In the child: print where each thread is when the outer process asks."""
    faulthandler.register(WHERE, file=2, all_threads=True, chain=False)


def _read(running: Running, descriptor: int, log: Log) -> bool:
    """Take what a pipe has: False if there is nothing, or nothing more to come."""
    try:
        data = os.read(descriptor, _CHUNK)
    except BlockingIOError:
        return False
    if descriptor == running.output:
        log.feed(data)
    elif descriptor == running.report and len(running.reported) <= REPORT_BYTES:
        running.reported += data
    return bool(data)
