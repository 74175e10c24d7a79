"""Runs one of our own steps in a forked process, in the state that a new interpreter would have begun with.

Only a shim that the template has forked can do that: there the step's code is imported. The step finds the same environment,
arguments, working directory, standard streams, signal handlers and descriptors as after `exec`, and ends in the same way. What differs
cannot matter to our steps: the hash seed is that of the template, and objects at the end of the process are not finalized.
"""

from __future__ import annotations

import atexit
import importlib
import io
import os
import signal
import sys
import threading
import time

from dyff.cluster.pods.shim import files, titles

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    from types import ModuleType
    from typing import NoReturn

MODULE = "dyff.workflows.__main__"
"""The module that `python -m dyff.workflows` executes. Its `main` runs the step that `sys.argv` names and returns the exit code."""
LANGUAGE = "C.UTF-8"
"""The template's `LANG`, which decides the encoding of its standard streams and file names."""
_FLUSH_FAILED = 120
_READ_AT_START = ("PYTHON", "LD_", "LANG", "LC_", "LOC", "GLIBC_", "GCONV_", "MALLOC_", "MIMALLOC_", "JE_", "ARROW_", "OMP_", "OPENSSL_")
"""Beginnings of the names of variables that the interpreter, the C library or Arrow reads only once."""


_steps: ModuleType | None = None


def prepare(name: str) -> None:
    """Import the module of the steps and what steps need, in the template.

    Raises:
        ImportError: there is something that cannot be imported.
    """
    global _steps
    module = importlib.import_module(name)
    module.prepare()
    _steps = module


def is_possible(spec: files.Json) -> bool:
    """Whether this process can run the container `spec` without executing a program, and with the same result."""
    if spec.get("step") is None or spec.get("confinement") is not None or _steps is None:
        return False
    early = {name: value for name, value in spec["env"].items() if name.startswith(_READ_AT_START)}
    return early == {"LANG": LANGUAGE}


def run(spec: files.Json) -> NoReturn:
    """Run the step of the container `spec` in this process, whose standard descriptors and working directory are already set."""
    code = 1
    try:
        _become_new(spec)
        code = _call()
        code = _finish(code)
    finally:
        os._exit(code)


def replace_environment(env: dict[str, str]) -> None:
    """Make `env` the whole environment, also for the C library."""
    os.environ.clear()
    os.environ.update(env)
    time.tzset()


def _become_new(spec: files.Json) -> None:
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # As Python sets them; `container` has reset all others.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    replace_environment(spec["env"])
    titles.show(spec["argv"], {name: spec["env"][name] for name in ("HOME", "TMPDIR") if name in spec["env"]})
    assert _steps is not None  # `is_possible`
    sys.modules["__main__"] = _steps
    sys.argv = [_steps.__file__ or MODULE, *spec["step"]]
    sys.orig_argv = list(spec["argv"])
    sys.stdin, sys.stdout, sys.stderr = _stream(0), _stream(1), _stream(2)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]


def _stream(descriptor: int) -> io.TextIOWrapper:
    """A standard stream with nothing in its buffers, as Python opens it for a file or a pipe."""
    raw = io.FileIO(descriptor, "rb" if descriptor == 0 else "wb", closefd=False)
    raw.name = ("<stdin>", "<stdout>", "<stderr>")[descriptor]
    buffered: io.BufferedReader | io.BufferedWriter = io.BufferedReader(raw) if descriptor == 0 else io.BufferedWriter(raw)
    errors = "backslashreplace" if descriptor == 2 else "surrogateescape"
    stream = io.TextIOWrapper(buffered, "utf-8", errors, newline=None if descriptor == 0 else "\n", line_buffering=descriptor == 2)
    stream.mode = "r" if descriptor == 0 else "w"  # type: ignore[misc]
    return stream


def _call() -> int:
    """Call the step's `main`; returns the exit code that Python would end with."""
    try:
        sys.exit(sys.modules["__main__"].main())
    except SystemExit as end:
        return _exit_code(end.code)
    except KeyboardInterrupt as error:
        sys.excepthook(type(error), error, error.__traceback__)
        _finish(1)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        return 130
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 1


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def _finish(code: int) -> int:
    """Wait for threads, call what was registered for the end, and write what is buffered. Returns the exit code."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError) as error:
            if stream is sys.stdout:
                code = _FLUSH_FAILED
                sys.stderr.write(f"Exception ignored in: {stream!r}\n{type(error).__name__}: {error}\n")
    return code
