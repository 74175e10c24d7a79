"""What a program leaves in its folders must not keep the server from removing them."""

from __future__ import annotations

import os
import resource

import pytest

from dyff.cluster.pods import removal
from dyff.cluster.pods.shim import files, folders

DEEP = "import os\nfor i in range(3000): os.mkdir('d'); os.chdir('d')\nopen('x', 'w').write('1')"
CLOSED = """
import os
os.mkdir('a', 0o700)
open('a/x', 'w').close()
os.mkdir('a/b', 0o300)
open('a/b/x', 'w').close()
os.mkdir('a/b/c', 0)
try:
    os.chmod('a', 0o500)
except PermissionError:
    pass
"""
NAMES = "import os\nos.mkfifo('f'); os.symlink('/', 'l'); os.mkdir('e' * 255); open(b'e' * 255 + b'/\\xff\\n', 'w').close()"
OPEN_FILES = 200
"""Much less than the levels of the deepest tree: the server has other uses for its descriptors."""


def as_server(bench, work) -> int:
    """The exit code of a process that does `work` with the user and few descriptors, as a server would."""
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
            if os.getuid() != bench.user:
                os.setgroups([])
                os.setresgid(bench.user, bench.user, bench.user)
                os.setresuid(bench.user, bench.user, bench.user)
            work()
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}"[:500].encode())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("program", [DEEP, CLOSED, NAMES], ids=["deep", "closed", "names"])
def test_everything_is_removed(bench, program):
    """Deep trees, folders without permissions and odd names are removed with the pod, with few descriptors."""
    os.chmod(bench.pods, 0o777)
    bench.start(program)
    bench.outcome()
    assert os.listdir(bench.place.place.work) != []

    def tidy() -> None:
        bench.place.tidy()
        assert not any(os.path.lexists(path) for path in (bench.place.place.work, bench.place.place.tmp, bench.place.place.volumes))

    assert as_server(bench, tidy) == 0
    assert as_server(bench, lambda: bench.place.remove()) == 0
    assert not os.path.lexists(bench.place.path)


@pytest.mark.parametrize("program", [DEEP, CLOSED], ids=["deep", "closed"])
def test_a_pod_is_removed_without_having_been_tidied(bench, program):
    """The whole directory of a pod can be removed at once."""
    os.chmod(bench.pods, 0o777)
    bench.start(program)
    bench.outcome()
    assert files.is_free(bench.place.lock)
    assert as_server(bench, lambda: bench.place.remove()) == 0
    assert not os.path.lexists(bench.place.path)


def test_folders_that_are_too_deep_are_not_given(tmp_path):
    """Before a pod's next run, a deep tree of its last one is refused in words, and does not end the supervisor."""
    above = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(above)
    with pytest.raises(OSError, match="nested more than 200 levels"):
        folders.give(str(tmp_path), os.getuid())
    removal.remove(str(tmp_path / "d"))
    assert os.listdir(tmp_path) == []
