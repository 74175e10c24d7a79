"""Certificates of the tests' own servers."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make(folder: Path) -> Path:
    """Two authorities, `ours` and `other`: NAME.pem is a certificate for 127.0.0.1 by itself, NAME.key its key. Returns the folder."""
    for name in ("ours", "other"):
        given = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *given]
        subprocess.run([*command, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"], check=True, capture_output=True)
    return folder
