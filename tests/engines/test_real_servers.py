"""The recipes, on the servers that they start."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import missing
from tests.engines import building, server
from tests.engines.catalog import RECIPES
from tests.engines.recipes import Unavailable
from tests.engines.server import running
from tests.narrowing import sure

pytestmark = pytest.mark.engines


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_server_answers_where_its_variable_says(name):
    """What is written there is read again."""
    recipe = RECIPES[name]
    if recipe.variable not in os.environ:
        missing(f"{recipe.variable} is not set: start the servers with make test-engines")
    recipe.check(os.environ[recipe.variable])


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_server_comes_back_after_kill_9(name, tmp_path):
    """It starts again on its data and its ports, and it and all of its processes are in one group."""
    recipe = RECIPES[name]
    try:
        built = building.build(recipe)
    except Unavailable as reason:
        missing(str(reason))
    with running(recipe, built, tmp_path / "home") as started:
        assert os.getpgid(started.pid) != os.getpgid(0)
        address = started.address
        started.kill()
        started.start()
        assert started.address == address
        assert os.getpgid(started.pid) == sure(started._supervisor).pid


def test_started_servers_stay_until_they_are_stopped(tmp_path):
    """`start` prints variables, `status` the same, a second `start` refuses, `stop` ends them."""
    environment = {**{key: value for key, value in os.environ.items() if not key.startswith("DYFF_TEST_")}}
    built = building.build(RECIPES["secantusdb"])
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / built.name).symlink_to(built)
    environment["DYFF_ENGINES_DIR"] = str(tmp_path / "cache")
    environment["DYFF_ENGINES"] = "native"

    def engines(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "tests.engines", *arguments], env=environment, capture_output=True, text=True, timeout=server.DEADLINE_S
        )  # fmt: skip

    assert engines("status").returncode == 1
    try:
        first = engines("start", "secantusdb")
        assert "export DYFF_TEST_MONGODB=mongodb://127.0.0.1:" in first.stdout, first.stderr
        assert engines("status").stdout == first.stdout
        again = engines("start", "secantusdb")
        assert again.returncode == 1
        assert "started already" in again.stderr
        address = first.stdout.partition("DYFF_TEST_MONGODB=")[2].split()[0]
        RECIPES["secantusdb"].check(address)
    finally:
        stopped = engines("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert engines("status").returncode == 1
