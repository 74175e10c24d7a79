"""Variables and files by which a program changes what other programs load: they must act in the sandbox only, and with its rights."""

from __future__ import annotations

import shutil
import subprocess

import pytest

LIBRARY = """
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) {
    char words[64];
    int length = snprintf(words, sizeof words, "%d\\n", (int)getuid());
    int file = open("FOLDER/loaded", O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (file >= 0 && write(file, words, length) < 0) _exit(1);
}
"""
MODULE = "import os; open('FOLDER/imported', 'a').write(f'{os.getuid()}\\n')\n"
REPORT = "import os; print(*({*open(name).read().split()} for name in ('loaded', 'imported') if os.path.exists(name)))"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no compiler for the hostile library")
def test_what_is_loaded_before_the_program_is_not_the_programs(bench):
    """Only the program itself loads what its variables name: nothing that runs with more rights does, nor searches its folder."""
    work = bench.place.place.work
    source = bench.root / "hostile.c"
    source.write_text(LIBRARY.replace("FOLDER", bench.home))
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(work / "hostile.so"), str(source)], check=True)
    shutil.copy(work / "hostile.so", work / "libc.so.6")
    for name in ("sitecustomize.py", "usercustomize.py", "json.py", "os.py", "resource.py", "ctypes.py", "struct.py"):
        (work / name).write_text(MODULE.replace("FOLDER", bench.home))
    shim = work / "dyff" / "cluster" / "pods" / "shim"
    shim.mkdir(parents=True)
    (shim / "launcher.py").write_text(MODULE.replace("FOLDER", bench.home))
    library = f"{bench.home}/hostile.so"
    hostile = {
        "LD_PRELOAD": library,
        "LD_AUDIT": library,
        "PYTHONPATH": bench.home,
        "PYTHONHOME": "/nowhere",
        "PYTHONSTARTUP": f"{bench.home}/os.py",
        "PYTHONPLATLIBDIR": bench.home,
        "PATH": f"{bench.home}:/usr/bin:/bin",
        "BASH_ENV": f"{bench.home}/os.py",
        "GCONV_PATH": bench.home,
        "HOME": bench.home,
        "TMPDIR": bench.home,
    }
    bench.start(REPORT, env=hostile)
    ended = bench.outcome()
    assert ended["exitCode"] == 0, (ended, bench.log())
    inside = bench.pod_user if bench.pod_user is not None else 65534 if bench.tier == "bubblewrap" else bench.user
    assert bench.log().splitlines()[-1] == f"{{'{inside}'}}"  # loaded by the program's user only, and no module was imported


@pytest.mark.parametrize("name", ["work", "tmp"])
def test_a_link_in_the_place_of_a_folder_is_refused(bench, name):
    """A folder that an earlier program of the pod has replaced by a link leads nowhere."""
    secret = bench.root / "secret"
    secret.mkdir(mode=0o755)
    (secret / "file").write_text("x")
    folder = bench.place.path / name
    folder.rmdir()
    folder.symlink_to(secret)
    bench.start("import os; print(os.listdir('.'))")
    ended = bench.outcome()
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128), bench.log()
    assert (secret / "file").exists()
    assert secret.stat().st_uid == secret.parent.stat().st_uid


@pytest.mark.parametrize("name", ["", "x" * 500, "\u00e9" * 60, "../x", "--ro-bind"])
def test_any_host_name_is_allowed(bench, name):
    """The variable HOSTNAME of an account is not a reason for a sandbox to fail, whatever it is."""
    bench.start("import os; print(os.environ['HOSTNAME'])", env={"HOSTNAME": name})
    assert bench.outcome()["exitCode"] == 0, bench.said()
    assert bench.log() == name
