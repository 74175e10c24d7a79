"""Copies of this package to which a kind is added, installed in environments of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
WIDGET = Path(__file__).parent / "widget"
FILES = tuple(sorted(str(each.relative_to(WIDGET)) for each in WIDGET.rglob("*.py")))
"""The files of the kind, relative to `dyff/`."""

LINES = {
    "sdk/client.py": (
        ("    from dyff.sdk.kinds import (\n", "    from dyff.sdk.kinds import (\n        widget,\n"),
        ("    models: model.Models[S]\n", "    models: model.Models[S]\n    widgets: widget.Widgets[S]\n"),
    ),
    "workflows/__main__.py": (
        ('    "mock-service": "mock_service",\n', '    "mock-service": "mock_service",\n    "paint-widget": "paint_widget",\n'),
    ),
}
"""The lines that the kind needs in files that are there: what stands there, and what does then."""

PLACES = (*FILES, *LINES)


class Copy:
    """A copy of the package with the kind Widget. `dyff`: its command. `python`: an interpreter that has the copy installed."""

    def __init__(self, folder: Path, *, without: str | None = None) -> None:
        """`without`: one of `PLACES`, which is left as it is."""
        self.package = folder / "dyff"
        # With what has been compiled, which is valid as long as the times of the files are the same: they are copied, too.
        shutil.copytree(ROOT / "dyff", self.package)
        shutil.copytree(ROOT / "migrations", folder / "migrations")
        for name in FILES:
            if name != without:
                shutil.copy(WIDGET / name, self.package / name)
        for name, changes in LINES.items():
            if name != without:
                self._change(name, changes)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        self.python = folder / "venv/bin/python"
        packages = next((folder / "venv/lib").glob("python*")) / "site-packages"
        # The copy comes before this environment, whose own `.pth` files, and so the checkout itself, are not read this way.
        (packages / "copy.pth").write_text(f"{folder}\n{sysconfig.get_paths()['purelib']}\n")
        self.dyff = folder / "venv/bin/dyff"
        self.dyff.write_text(f"#!{self.python}\nfrom dyff.serve.cli import main\nmain()\n")
        self.dyff.chmod(0o755)

    def _change(self, name: str, changes: tuple[tuple[str, str], ...]) -> None:
        file = self.package / name
        text = file.read_text()
        for before, after in changes:
            assert text.count(before) == 1, f"{name} has changed: {before!r} is not in it once"
            text = text.replace(before, after)
        file.write_text(text)

    def run(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """The interpreter, with these arguments, to its end."""
        return subprocess.run(
            [str(self.python), *arguments], capture_output=True, text=True, timeout=timeout_s, check=False, cwd=self.package.parent
        )
