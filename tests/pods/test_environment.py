from __future__ import annotations

from pathlib import Path

import pytest

from dyff.cluster.pods import environment, refusals, specs
from dyff.kernel import settings

PLACE = environment.Place(Path("/pods/u/work"), Path("/pods/u/tmp"), Path("/pods/u/volumes"))
VOLUMES = [{"name": "model", "emptyDir": {}}, {"name": "inner", "emptyDir": {}}]
MOUNTS = [{"name": "model", "mountPath": "/models"}, {"name": "inner", "mountPath": "/models/inner/"}]


def process(image: settings.Image | None = None, port: int | None = None, **container) -> environment.Process:
    main = {"name": "main", "image": "x", "volumeMounts": MOUNTS, **container}
    metadata = {"name": "p", "uid": "u", "namespace": "dyff", "labels": {"dyff.io/id": "42"}, "annotations": {}}
    pod = specs.parse({"metadata": metadata, "spec": {"containers": [main], "volumes": VOLUMES}})
    return environment.process(pod, pod.main, image or settings.Image(command=("run",)), PLACE, port)


@pytest.mark.parametrize(
    ("word", "want"),
    [
        ("/models", "/pods/u/volumes/model"),
        ("/models/a/b", "/pods/u/volumes/model/a/b"),
        ("/models/inner/x", "/pods/u/volumes/inner/x"),
        ("--model=/models/a", "--model=/pods/u/volumes/model/a"),
        ("/modelsx", "/modelsx"),
        ("see /models", "see /models"),
        ("models", "models"),
        ("http://x/models", "http://x/models"),
    ],
)
def test_mount_paths_are_translated(word, want):
    """What begins with a mount path, the deepest first, is the volume's local directory; nothing else is touched."""
    made = process(args=[word], env=[{"name": "V", "value": word}])
    assert made.argv == ["run", want]
    assert made.env["V"] == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("$(A)-$(A)", "1-1"),
        ("$(ABSENT)", "$(ABSENT)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A}", "$A ${A}"),
        ("100%", "100%"),
    ],
)
def test_variables_are_expanded_as_kubernetes_does(text, want):
    """`$(VAR)` becomes its value, an unknown one stays, two dollar signs are one."""
    assert process(args=[text], env=[{"name": "A", "value": "1"}]).argv[1] == want


def test_variables_see_those_before_them():
    """A variable may refer to earlier ones, and a path is translated after that."""
    made = process(
        env=[
            {"name": "D", "value": "/models"},
            {"name": "F", "value": "$(D)/f"},
            {"name": "L", "value": "$(Z)"},
            {"name": "Z", "value": "z"},
        ]
    )
    assert (made.env["F"], made.env["L"]) == ("/pods/u/volumes/model/f", "$(Z)")


def test_the_pods_own_fields():
    """The downward API gives name, uid, namespace, labels and address; a label that is absent is empty."""
    paths = (
        "metadata.name",
        "metadata.uid",
        "metadata.namespace",
        "metadata.labels['dyff.io/id']",
        "metadata.labels['no']",
        "status.podIP",
    )
    env = [{"name": f"V{index}", "valueFrom": {"fieldRef": {"fieldPath": path}}} for index, path in enumerate(paths)]
    made = process(env=env)
    assert [made.env[f"V{index}"] for index in range(len(paths))] == ["p", "u", "dyff", "42", "", "127.0.0.1"]


def test_a_mapping_is_filled_in():
    """`{port}` and `{mount:NAME}` are replaced in the mapping's command and environment, other braces are not."""
    image = settings.Image(command=("serve", "--port={port}", "{mount:model}/w", '{"a": 1}'), env={"WEIGHTS": "{mount:inner}"})
    made = process(image, 1234, args=["--more"])
    assert made.argv == ["serve", "--port=1234", "/pods/u/volumes/model/w", '{"a": 1}', "--more"]
    assert made.env["WEIGHTS"] == "/pods/u/volumes/inner"


def test_the_mapping_knows_best():
    """What the mapping's environment says is preferred to the container's: it was written for the program that really runs."""
    made = process(settings.Image(command=("run",), env={"A": "mapping"}), env=[{"name": "A", "value": "container"}])
    assert made.env["A"] == "mapping"


def test_a_command_of_the_image_does_not_count():
    """The spec's command names a path inside the image; the mapping's stands for it and the args follow."""
    assert process(command=["/app/server"], args=["--x"]).argv == ["run", "--x"]


@pytest.mark.parametrize(("directory", "want"), [("/models/a", "/pods/u/volumes/model/a"), ("/app", "/pods/u/work"), ("", "/pods/u/work")])
def test_the_working_directory(directory, want):
    """A working directory below a mount is translated; any other is inside the image, so the pod's own is taken."""
    assert process(workingDir=directory).cwd == want


@pytest.mark.parametrize(
    ("container", "image", "want"),
    [
        ({"volumeMounts": [{"name": "no", "mountPath": "/x"}]}, None, "there is no volume 'no'"),
        ({"volumeMounts": [{"name": "model", "mountPath": "/x", "subPath": "../.."}]}, None, "leaves its volume"),
        ({}, settings.Image(command=("{mount:data}",)), "mounts no volume 'data', which pods.images asks for; it mounts model, inner"),
        ({}, settings.Image(command=("{port}",)), "has no ports"),
        ({"workingDir": "/models/../../.."}, None, "must not have '..'"),
        ({"envFrom": [{"configMapRef": {"name": "c"}}]}, None, "from a secretRef only"),
        (
            {"env": [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            None,
            "env S: the local cluster gives values from",
        ),
        ({"resources": {"limits": {"memory": "much"}}}, None, "resources.limits.memory: 'much' is not a quantity"),
    ],
)
def test_what_cannot_be_is_refused_by_name(container, image, want):
    """A spec or mapping that asks for something absent is refused with a message that names it."""
    with pytest.raises(refusals.Refused) as refused:
        process(image, **container)
    assert want in refused.value.message


@pytest.mark.parametrize("name", ["../../etc", "A", "", "a" * 64, "-a"])
def test_names_cannot_leave_the_directory(name):
    """Container and volume names become file names, so only Kubernetes's own names are taken."""
    with pytest.raises(refusals.Refused, match="is no name"):
        specs.parse({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [{"name": name}]}})
