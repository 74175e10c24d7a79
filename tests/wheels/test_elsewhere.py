"""The client on other systems: it imports nothing that only POSIX has, and the server's commands say how to proceed."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

from wheels.build import build

POSIX = ("fcntl", "grp", "posix_ipc", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
SIGNALS = ("SIGHUP", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGALRM", "SIGPIPE", "pthread_sigmask", "set_wakeup_fd")
FUNCTIONS = ("fork", "getuid", "geteuid", "getpgid", "setsid", "umask", "killpg", "O_DIRECTORY", "O_NOFOLLOW", "sched_getaffinity", "uname")

FAKED = f"""
import importlib, importlib.util, os, pathlib, pkgutil, signal, subprocess, sys
import anyio._backends._asyncio, asyncio, click.shell_completion, ctypes, httpx, jsonpath_ng, msgspec, pathspec
import shutil, ssl, tempfile, uuid, zoneinfo
# What others import is theirs, and works on their systems: they have wheels for these (wheels.check).
system, arrow = sys.argv[1], sys.argv[2] == "arrow"
if arrow:
    import pyarrow, pyarrow.compute, pyarrow.dataset, pyarrow.parquet
for name in {POSIX!r}:
    sys.modules[name] = None
for name in ("apsw", "litestar", "uvloop", "structlog", "rich", "yaml", "uvicorn", *(() if arrow else ("pyarrow",))):
    sys.modules[name] = None
for name in {SIGNALS!r}:
    if hasattr(signal, name): delattr(signal, name)
for name in {FUNCTIONS!r}:
    if hasattr(os, name): delattr(os, name)
sys.platform = system
"""

IMPORT_ALL = (
    FAKED
    + """
import dyff.sdk, dyff.cli, dyff.entities, dyff.adapters, dyff.kernel
done = []
for package in (dyff.sdk, dyff.cli, dyff.entities, dyff.adapters, dyff.kernel):
    for each in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(each.name)
        except ModuleNotFoundError as error:
            if arrow or error.name != "pyarrow": raise
            continue
        done.append(each.name)
client = dyff.sdk.Client(api_token="a.b.c", endpoint="http://127.0.0.1:9")
assert "dyff.serve" not in sys.modules and not any(name.startswith("dyff.api") for name in sys.modules)
print(len(done), pathlib.Path(dyff.sdk.__file__).parents[2])
"""
)

COMMAND = FAKED + "\nsys.argv[:] = ['dyff', *sys.argv[3:]]\nfrom dyff.cli.main import main\nmain()\n"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def installed(environment):
    """An interpreter that has only the files of the client's wheel, and what is installed here from others."""
    folder = environment
    _, client = build(folder)
    venv.create(folder / "env", with_pip=False, symlinks=True)
    site = next((folder / "env/lib").glob("python*/site-packages"))
    zipfile.ZipFile(client).extractall(site)

    def run(script, *arguments):
        # A directory of PYTHONPATH is not asked for .pth files, so this checkout is not found through it.
        environment = {"PYTHONPATH": sysconfig.get_path("purelib"), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
        command = [str(folder / "env/bin/python"), "-c", script, *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.mark.parametrize("arrow", ["arrow", "light"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_every_module_is_imported_without_posix(installed, environment, system, arrow):
    """Each module of the wheel, where the modules, signals and functions that only POSIX has are hidden, and the server's packages, too."""
    done = installed(IMPORT_ALL, system, arrow)
    assert done.returncode == 0, done.stderr[-3000:]
    count, place = done.stdout.split()
    assert place == str(next((environment / "env/lib").glob("python*/site-packages")))
    assert int(count) > 70


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ("linux", ["pip install dyff-platform", "DYFF_API_ENDPOINT"]),
        ("darwin", ["Linux only", "macOS", "container", "DYFF_API_ENDPOINT"]),
        ("win32", ["Linux only", "Windows", "container", "WSL 2", "DYFF_API_ENDPOINT"]),
        ("freebsd14", ["Linux only", "freebsd14", "container", "DYFF_API_ENDPOINT"]),
    ],
)
@pytest.mark.parametrize(
    "command", [["serve"], ["serve", "--port", "0", "--no-such"], ["migrate", "pre"], ["config", "--check"]], ids=" ".join
)
def test_the_servers_commands_say_how_to_proceed(installed, system, words, command):
    """One line on standard error, with exit code 2, whatever the arguments are."""
    done = installed(COMMAND, system, "light", *command)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_the_help_lists_both(installed, system):
    """The client's commands, and those that are elsewhere."""
    done = installed(COMMAND, system, "light", "--help")
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ("whoami", "download", "Commands of the server", "serve"))


def test_linux_only_holds_where_the_server_is_installed():
    """dyff-platform can be installed on other systems; its commands are not imported there, and say the same."""
    script = "import sys; sys.platform = 'darwin'; sys.argv = ['dyff', 'serve']\nfrom dyff.cli.main import main\nmain()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "Linux only" in done.stderr


def test_what_needs_arrow_says_how_to_install_it(installed):
    """Without pyarrow: datasets and schemas, each with the command for a shell."""
    script = (
        FAKED
        + """
import json
from dyff.sdk import Client, errors, schemas
client = Client(api_token="a.b.c", endpoint="http://127.0.0.1:9")
said = []
for call in (
    lambda: client.datasets.create_arrow_dataset(".", account="me", name="x"),
    lambda: schemas.encode(None),
    lambda: schemas.decode("QUJD"),
    lambda: schemas.output_schema(None),
):
    try:
        call()
    except errors.NotInstalled as error:
        said.append(str(error))
print(json.dumps(said))
"""
    )
    done = installed(script, "linux", "light")
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    assert len(said) == 4
    assert all('pip install "dyff-sdk[arrow]"' in each for each in said)
