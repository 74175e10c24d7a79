"""Dyff on a real node: its images there, and all roles as processes whose workflows run in containers."""

from __future__ import annotations

import base64
import hashlib
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from image import archive, build
from tests.acceptance.conftest import DIGEST, run
from tests.acceptance.deployment import SECRET, Deployment, engines
from tests.engines import building
from tests.engines.node.access import Node
from tests.narrowing import sure

ROLES = sorted(["api", "aggregator", "sink", "orchestrator", "informer", "operator"] * 2)
"""Several of each: some share the load, of the others one leads."""

STEPS, MOCK = "dyff.local/dyff:latest", "registry.gitlab.com/dyff/workflows/inferenceservice-mock"
_MOCK_SERVICE = ["python3", "-P", "-m", "dyff.workflows", "mock-service"]


def load_images(node: Node, folder: Path) -> None:
    """Dyff's image, and the mock service under the name that the published platform gives it."""
    ours, mock = folder / "dyff.tar", folder / "mock.tar"
    build.build(ours, STEPS)
    node.load(ours)
    archive.variant(ours, mock, "dyff.local/mock:latest", {**build.CONFIG, "Entrypoint": _MOCK_SERVICE})
    node.load(mock, f"{MOCK}@{DIGEST}")
    for each in (ours, mock):
        each.unlink()


def load_environment(node: Node) -> None:
    """The environment of analyses. Its archive takes a minute to make and changes seldom, so it is kept with what the servers need."""
    made = (*(build.ROOT / each for each in build.ANALYSIS), *sorted(Path(sure(build.__file__)).parent.glob("*.py")))
    digest = hashlib.sha256(b"\0".join(each.read_bytes() for each in made)).hexdigest()[:16]
    kept = building.root() / f"image-analysis-{digest}.tar"
    with FileLock(building.root() / "image-analysis.lock"):
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=building.root(), prefix=".image-") as folder:
                unfinished = Path(folder) / "analysis.tar"
                recipe = build.RECIPES["analysis"]
                build.build(unfinished, recipe.name, recipe)
                for earlier in building.root().glob("image-analysis-*.tar"):
                    earlier.unlink()
                unfinished.rename(kept)
    node.load(kept)


@contextmanager
def deployed(node: Node, folder: Path, more: Mapping[str, str] | None = None, roles: list[str] | None = None) -> Iterator[Deployment]:
    """All roles, in a namespace of their own, whose pods reach the object store. Not started.

    `more`: settings. `roles`: of each process; None for `ROLES`.
    """
    namespace = f"dyff-{uuid.uuid4().hex[:8]}"
    settings = engines(folder)
    node.kubectl("apply", "--server-side", "-f", "-", stdin=run("manifests", "crds").stdout)
    node.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    credentials = {name: base64.b64encode(value.encode()).decode() for name, value in settings.items() if name.startswith("AWS_")}
    node.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": namespace}, "data": credentials})
    with node.reaching(int(settings["DYFF_OBJECTS__URL"].rpartition(":")[2])) as port:
        settings |= {
            "DYFF_CLUSTER__KUBERNETES__KUBECONFIG": node.kubeconfig,
            "DYFF_CLUSTER__KUBERNETES__NAMESPACE": namespace,
            "DYFF_OBJECTS__STEPS_ENDPOINT": f"http://{node.host}:{port}",
            "DYFF_OPERATOR__STEPS_IMAGE": STEPS,
            **(more or {}),
        }
        yield Deployment(folder, settings, roles or ROLES)
    node.kubectl("delete", "namespace", namespace, "--wait=false")
