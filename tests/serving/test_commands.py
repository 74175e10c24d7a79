"""The commands beside `dyff serve`, in this process."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from dyff.serve import cli


@pytest.mark.parametrize("name", ["", " \t"])
def test_an_account_needs_a_name(tmp_path, name):
    """An empty name is refused, naming the option, and nothing is created."""
    folder = str(tmp_path / "data")
    result = CliRunner().invoke(cli.main, ["account", "create", "--name", name, "--data-dir", folder])
    assert (result.exit_code, "--name" in result.stderr) == (2, True), result.output
    assert CliRunner().invoke(cli.main, ["account", "list", "--data-dir", folder]).stdout == ""
