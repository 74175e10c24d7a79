"""A kind is added by the places that ARCHITECTURE.md names, and by nothing else; each that is left out is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.acceptance.conftest import Server
from tests.registry.copies import FILES, LINES, PLACES, ROOT, Copy

pytestmark = pytest.mark.acceptance
DRIVE = Path(__file__).parent / "drive.py"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The package with the kind."""
    return Copy(tmp_path_factory.mktemp("copy"))


def test_the_overview_names_the_places():
    """ARCHITECTURE.md, in its row about kinds, names the folder or the file of everything that the kind in these tests is made of."""
    (row,) = [line for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines() if line.startswith("| add a kind of entity")]
    folders = {str(Path(name).parent) for name in FILES}
    assert [place for place in (*folders, *LINES) if place not in row] == []


def test_a_new_kind_does_all_that_its_row_says(copy, tmp_path):
    """Created, queried, edited, run, downloaded, uploaded, deleted, through HTTP and the SDK; no other file was touched."""
    server = Server(tmp_path / "data", command=str(copy.dyff))
    server.start()
    try:
        account = server.command("account", "create", "--name", "auditor")
        token = server.command("token", "create", "--account", account, "--role", "Admin")
        (tmp_path / "files").mkdir()
        done = copy.run(str(DRIVE), server.endpoint, account, token, str(tmp_path / "files"), timeout_s=120)
        assert done.returncode == 0, done.stderr[-3000:] + server.log.read_text()[-3000:]
        assert server.stop() == 0
        server.command("verify")  # all that the kind put into the log folds again to the same bytes
    finally:
        if server.is_running:
            server.kill()


def test_its_custom_resource_can_be_installed(copy):
    """`dyff manifests crds` and the roles' permissions have the new type."""
    crds = yaml.safe_load_all(copy.run(str(copy.dyff), "manifests", "crds").stdout)
    (found,) = [each for each in crds if each["metadata"]["name"] == "widgets.dyff.io"]
    assert [column["name"] for column in found["spec"]["versions"][0]["additionalPrinterColumns"]][:3] == ["Complete", "Failed", "Color"]
    rbac = list(yaml.safe_load_all(copy.run(str(copy.dyff), "manifests", "rbac").stdout))
    named = {each["metadata"]["name"] for each in rbac if each["kind"] == "Role" and "widgets" in str(each["rules"])}
    assert named == {"dyff-informer", "dyff-operator", "dyff-orchestrator"}


STEP = ("-m", "dyff.workflows", "paint-widget")
CLIENT = ("-c", "from dyff.sdk import Client; Client(api_token='t')")
TRIED = {
    "sdk/client.py": CLIENT,
    "sdk/kinds/widget.py": CLIENT,
    "workflows/__main__.py": STEP,
    "workflows/paint_widget.py": STEP,
}
"""What a contributor runs next if a place is left out and the start of the server does not report it."""


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_is_left_out_is_named(place, tmp_path):
    """Whatever is forgotten, the next start fails, and the message has the name of the file."""
    copy = Copy(tmp_path / "copy", without=place)
    serve = (str(copy.dyff), "serve", "--data-dir", str(tmp_path / "data"), "--port", "0")
    done = copy.run(*TRIED.get(place, serve))
    assert done.returncode not in (0, None)
    assert f"dyff/{place}" in done.stdout + done.stderr, done.stdout + done.stderr
