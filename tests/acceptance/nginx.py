"""A real nginx with the configuration of docs/production.md, for tests."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from image import packages
from tests import waiting
from tests.conftest import missing
from tests.engines import building

_PACKAGES = ("nginx", "libpcre2-8-0")
DOCUMENT = Path(__file__).parents[2] / "docs" / "production.md"

_AROUND = """daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {{}}
http {{
access_log off;
client_body_temp_path body;
proxy_temp_path proxied;
fastcgi_temp_path fastcgi;
uwsgi_temp_path uwsgi;
scgi_temp_path scgi;
{}
}}
"""


def program() -> tuple[str, dict[str, str]]:
    """The program nginx of this machine, and variables that it needs. If there is none, the one of Debian, only unpacked, once."""
    installed = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return (installed, {}) if installed is not None else unpacked()


def unpacked() -> tuple[str, dict[str, str]]:
    """That of Debian's packages. A skip if there is no way to get it."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        missing("no nginx is installed, and it can be unpacked on a Debian only")
    target = building.root() / "nginx-of-debian"
    with FileLock(building.root() / "nginx-of-debian.lock"):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=building.root(), prefix=".nginx-") as folder:
                try:
                    packages.unpack(_PACKAGES, Path(folder) / "build")
                except subprocess.CalledProcessError as error:
                    missing(f"no nginx is installed, and its package cannot be downloaded: {error}")
                (Path(folder) / "build").rename(target)
    libraries = sorted({str(each.parent) for each in target.rglob("lib*.so.*")})
    return str(target / "usr/sbin/nginx"), {"LD_LIBRARY_PATH": ":".join(libraries)}


def documented(port: int, behind: int, *, removes_prefix: bool) -> str:
    """The configuration of the document, on `port`, without TLS, in front of the port `behind`."""
    (text,) = re.findall(r"```nginx\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    changes = {
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{behind};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port};",
        "proxy_pass http://dyff;": "proxy_pass http://dyff/;" if removes_prefix else "proxy_pass http://dyff;",
    }
    for old, new in changes.items():
        assert text.count(old) == 1, f"the document has not {old!r} once"
        text = text.replace(old, new)
    return _AROUND.format(text)


@contextmanager
def running(folder: Path, configuration: str, port: int) -> Iterator[None]:
    """nginx with that configuration, which listens on `port`. Its files are in `folder`. A skip if there is none."""
    found, variables = program()
    folder.mkdir()
    (folder / "nginx.conf").write_text(configuration)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [found, "-p", str(folder), "-e", "stderr", "-c", "nginx.conf"], stdout=log, stderr=log, env={**os.environ, **variables}
        )
    try:
        end = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            waiting.a_blocking_moment()
        else:
            raise AssertionError(f"nginx does not listen: {(folder / 'log').read_text()}")
        yield
    finally:
        process.terminate()
        process.wait(30)
