"""A module of methods, most of which do what they must not. The names are those of the functions.

Each gets the argument `store`, an address of the object store, and the input `prompts`.
"""

from __future__ import annotations

import json
from typing import Any

FUNCTIONS = '''
import ctypes, json, os, socket, subprocess, sys, time
import pyarrow as pa

SCHEMA = pa.schema([("_index_", pa.int64()), ("words", pa.float64())])

def table(prompts):
    rows = prompts.to_table().to_pylist()
    return [pa.RecordBatch.from_pylist([{"_index_": row["_index_"], "words": len(row["text"].split())} for row in rows], schema=SCHEMA)]

def result():
    """The folder of the output, next to the links to the inputs."""
    with os.scandir(os.environ["DYFF_AUDIT_LOCAL_STORAGE_ROOT"]) as entries:
        return next(each.path for each in entries if each.is_dir(follow_symlinks=False))

def counts(arguments, *, prompts):
    print("counting", flush=True)
    return table(prompts)

def raises(arguments, *, prompts):
    return float(table(prompts)[0]["words"][0].as_py() / 0)

def loops(arguments, *, prompts):
    while True:
        pass

def grows(arguments, *, prompts):
    kept = []
    while True:
        kept.append(b"x" * 2**24)

def splits(arguments, *, prompts):
    """Several processes hold together what the container does not have, and the loss of one is not noticed."""
    print("splitting", flush=True)
    for _ in range(4):
        if os.fork() == 0:
            kept = b"x" * (400 * 2**20)
            time.sleep(1000)
    os.wait()
    return table(prompts)

def fills(arguments, *, prompts):
    for number in range(32):
        with open(f"part-{number}", "wb") as file:
            file.write(bytes(2**24))
    time.sleep(1000)

def leaves(arguments, *, prompts):
    """Processes that hold their parents' output, write into the result, and have left their session."""
    code = "import time\\nwhile True:\\n    open('.more', 'wb').write(b'more')\\n    time.sleep(0.01)"
    for _ in range(3):
        subprocess.Popen([sys.executable, "-c", code, arguments["mark"]], cwd=result(), start_new_session=True)
    while not os.path.exists(result() + "/.more"):
        time.sleep(0.01)
    return table(prompts)

def links(arguments, *, prompts):
    """What the step after it could read, and this one cannot."""
    os.symlink("/dyff/manifest/manifest.json", result() + "/more.parquet")
    return table(prompts)

def variables():
    """The names of the variables of all processes that can be seen."""
    found = set()
    for each in os.listdir("/proc"):
        if each.isdecimal():
            with open(f"/proc/{each}/environ", "rb") as file:
                found |= {entry.partition(b"=")[0].decode() for entry in file.read().split(b"\\0")}
    return found

def secrets():
    return [name for name in variables() if any(word in name for word in ("AWS", "SECRET", "TOKEN", "PASSWORD", "STORAGE_URL"))]

def mounts():
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0

ATTEMPTS = {
    "internet": lambda store: socket.create_connection(("1.1.1.1", 80), 2),
    "names": lambda store: socket.getaddrinfo("kubernetes.default.svc", 443),
    "API server": lambda store: socket.create_connection(("10.96.0.1", 443), 2),
    "store": lambda store: socket.create_connection(tuple(store.split(":")), 2),
    "program": lambda store: subprocess.check_output([sys.executable, "-c", "import socket; print(socket.socket())"], stderr=-3),
    "listening": lambda store: socket.create_server(("", 0)),
    "secrets": lambda store: secrets(),
    "token": lambda store: os.listdir("/var/run/secrets"),
    "manifest": lambda store: os.listdir("/dyff/manifest"),
    "files of steps": lambda store: os.listdir("/dyff/tmp"),
    "inputs": lambda store: open("/dyff/in/more", "w"),
    "runner": lambda store: open("/dyff/in/.dyff/runner/more.py", "w"),
    "packages": lambda store: open(os.path.dirname(pa.__file__) + "/more.py", "w"),
    "root": lambda store: open("/more", "w"),
    "system": lambda store: open("/etc/more", "w"),
    "root user": lambda store: os.setuid(0) or True,
    "mounts": lambda store: mounts(),
    "disks": lambda store: os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0)) or True,
}

def pries(arguments, *, prompts):
    got = {}
    for name, attempt in ATTEMPTS.items():
        try:
            got[name] = repr(found) if (found := attempt(arguments["store"])) else None
        except (OSError, subprocess.SubprocessError) as error:
            got[name] = None
    try:
        os.kill(os.getppid(), 9)
    except OSError:
        pass
    print("got", json.dumps({name: what for name, what in got.items() if what}), "of", len(got), flush=True)
    return table(prompts)
'''

CELLS = (
    "from dyff.audit.analysis import AnalysisContext\nctx = AnalysisContext()",
    "ctx.TitleCard(headline='Counted', author='me', summary_phrase='fine', summary_text='All is well')",
    "rows = ctx.open_input_dataset('counts').to_table()['words'].to_pylist()\nprint('rows', len(rows))",
    "ctx.Score(output='mean', quantity=sum(rows) / len(rows), text='words')",
)
SCORE = {"name": "mean", "title": "Mean", "summary": "s", "unit": "words", "format": "{quantity:.2f} {unit}"}
ALL = ("counts", "raises", "loops", "grows", "splits", "fills", "leaves", "links", "pries")


def notebook() -> str:
    """The notebook of the safety case."""
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
        for n, source in enumerate(CELLS)
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
