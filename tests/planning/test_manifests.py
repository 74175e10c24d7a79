"""What the operator creates is what Kubernetes wants, and no more than is needed."""

from __future__ import annotations

import pytest

from dyff.cluster import port
from dyff.cluster.embedded.controllers import failures
from dyff.entities import custom_resource
from dyff.kernel import settings
from dyff.operator import plan
from dyff.operator.manifests import deployment
from tests import kinds
from tests.planning import world
from tests.planning.world import ID, OTHER, World

DATA = {"kind": "Data", "name": "The weights!", "mountPath": "/weights", "source": {"kind": "Model", "id": OTHER}}
SCRATCH = {"kind": "Scratch", "name": "work", "mountPath": "/work", "capacity": "2Gi"}


def the_deployment(**spec):
    """The Deployment of a session with that template."""
    return World(world.a_session(**spec)).settle().get(port.DEPLOYMENT, f"session-{ID}")


def the_runner(**spec):
    """The runner's container and the whole pod spec."""
    pod = the_deployment(**spec)["spec"]["template"]["spec"]
    [runner] = pod["containers"]
    return runner, pod


def environment(container):
    """A container's environment as a dict."""
    return {each["name"]: each.get("value") for each in container["env"]}


def the_objects():
    """Everything that an evaluation makes in its life."""
    there = World(world.an_evaluation(session={"volumes": [DATA, SCRATCH]})).settle().serve()
    first = dict(there.objects)
    there.end_job("client")
    return {**first, **there.objects}


def test_the_stores_credentials_are_named_in_every_step_and_in_no_runner():
    """`operator.storage_secret`: our own steps take their variables from it, what a user brings does not."""
    setup = plan.Setup(settings.Operator(storage_secret="storage"), {"DYFF_STORAGE_URL": "s3://bucket"})
    there = World(world.an_evaluation(session={"volumes": [DATA]}), setup=setup).settle().serve()
    specs = [obj["spec"]["template"]["spec"] for obj in there.objects.values() if "template" in obj.get("spec", {})]
    containers = [each for spec in specs for each in (*spec.get("initContainers", ()), *spec["containers"])]
    given = {each["name"]: each.get("envFrom") for each in containers}
    storage = [{"secretRef": {"name": "storage"}}]
    assert given == {"step": storage, "fetch-the-weights": storage, "runner": None}


def test_all_parts_name_the_trace_and_only_our_own_steps_get_its_variables():
    """What a user brings must not behave differently because it is traced; a resource without a trace has nothing of one."""
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for traced in (
        {"dyff.io/traceparent": parent, "dyff.io/tracestate": "a=1"},
        {"dyff.io/traceparent": parent},
        {"dyff.io/traceparent": "x"},
        {},
    ):
        evaluation = world.an_evaluation(session={"volumes": [DATA]})
        evaluation["metadata"]["annotations"] = traced
        there = World(evaluation).settle().serve()
        made = [obj for ref, obj in there.objects.items() if obj["metadata"]["name"] != f"eval-{ID}"]
        valid = traced if traced.get("dyff.io/traceparent") == parent else {}
        kinds_of = {obj["kind"] for obj in made if valid.items() <= obj["metadata"].get("annotations", {}).items()}
        assert {"Job", "ConfigMap", "Deployment", "Service", "NetworkPolicy", "InferenceSession"} <= kinds_of
        assert all(("dyff.io/traceparent" in obj["metadata"].get("annotations", {})) == bool(valid) for obj in made)
        templates = [obj["spec"]["template"] for obj in made if "template" in obj.get("spec", {})]
        assert all(valid.items() <= each["metadata"]["annotations"].items() for each in templates)
        containers = [each for pod in templates for each in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])]
        given = {each["name"]: {key: value for key, value in environment(each).items() if key.startswith("TRACE")} for each in containers}
        variables = {key.removeprefix("dyff.io/").upper(): value for key, value in valid.items()}
        assert given == {"step": variables, "fetch-the-weights": variables, "runner": {}}


@pytest.mark.parametrize(("component", "kind", "name"), [
    ("client", port.JOB, "client"), ("verify", port.JOB, "verify"), ("infer", port.DEPLOYMENT, "infer"),
    ("infer", port.SERVICE, "infer"), ("infer", kinds.INFERENCE_SESSION, "infer"), ("client", port.CONFIG_MAP, "client"),
])  # fmt: skip
def test_parts_carry_labels_and_their_owner(component, kind, name):
    """Each part and each pod template has the four labels, with the evaluation's ID, and goes with its owner."""
    obj = the_objects()[kind, f"eval-{ID}-{name}"]
    labels = custom_resource.labels("evaluation", component, world.ACCOUNT, ID)
    assert obj["metadata"]["labels"] == labels
    [owner] = obj["metadata"]["ownerReferences"]
    assert owner["controller"] is True
    assert owner["blockOwnerDeletion"] is True
    assert owner["apiVersion"] == custom_resource.GROUP_VERSION
    wanted_owner = f"eval-{ID}-infer" if kind in (port.DEPLOYMENT, port.SERVICE) else f"eval-{ID}"
    assert owner["name"] == wanted_owner
    if "template" in obj.get("spec", {}):
        assert obj["spec"]["template"]["metadata"]["labels"] == labels


def test_jobs_are_bounded_and_hold_their_outcome():
    """A Job has a deadline, a number of tries, exit codes that end it, and our finalizer until its outcome is recorded."""
    job = World(world.an_evaluation(client={"totalTimeoutSeconds": 60})).settle().get(port.JOB, f"eval-{ID}-client")
    assert job["metadata"]["finalizers"] == ["dyff.io/operator"]
    spec = job["spec"]
    assert spec["activeDeadlineSeconds"] == 900 + 60 + 300
    assert spec["backoffLimit"] == 3
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    ignore, fail = spec["podFailurePolicy"]["rules"]
    assert fail["action"] == "FailJob"
    assert fail["onExitCodes"] == {"containerName": "step", "operator": "In", "values": [10, 20, 64, 65, 69, 76, 78]}
    assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


@pytest.mark.parametrize("seconds", [0, 2**31 - 1])
def test_a_client_without_limit_has_a_month(seconds):
    """totalTimeoutSeconds of 0 is no limit for the client, and nothing runs for ever: its Job has thirty days."""
    job = World(world.an_evaluation(client={"totalTimeoutSeconds": seconds})).settle().get(port.JOB, f"eval-{ID}-client")
    assert job["spec"]["activeDeadlineSeconds"] == 900 + 30 * 86400 + 300


def test_a_disruption_is_never_final():
    """A step that ends with a final code while its node is drained is tried again: its service went away with the node."""
    job = the_objects()[port.JOB, f"eval-{ID}-client"]
    ended = {"name": "step", "state": {"terminated": {"exitCode": 69}}}
    status = {"phase": "Failed", "containerStatuses": [ended]}
    pod = {"metadata": {"name": "p"}, "status": status}
    assert failures.action(job, pod).kind == "FailJob"
    status["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    assert failures.action(job, pod).kind == "Ignore"


@pytest.mark.parametrize("name", ["client", "verify", "infer"])
def test_pods_have_no_rights(name):
    """Every container keeps Kubernetes's restricted standard, and cannot write to its root."""
    objects = the_objects()
    kind = port.DEPLOYMENT if name == "infer" else port.JOB
    pod = objects[kind, f"eval-{ID}-{name}"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    for container in containers:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_storage_reaches_our_steps_and_nobody_else():
    """The storage's environment is in every step and in no runner."""
    objects = the_objects()
    pods = {name: objects[kind, f"eval-{ID}-{name}"]["spec"]["template"]["spec"] for kind, name in (
        (port.JOB, "client"), (port.JOB, "verify"), (port.DEPLOYMENT, "infer"),
    )}  # fmt: skip
    steps = [*pods["client"]["containers"], *pods["verify"]["containers"], *pods["infer"]["initContainers"]]
    assert {environment(step)["DYFF_STORAGE_URL"] for step in steps} == {"file:///srv/dyff"}
    assert all("DYFF_STORAGE_URL" not in environment(runner) for runner in pods["infer"]["containers"])
    attempt = {"name": "DYFF_ATTEMPT", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    assert all(attempt in step["env"] for step in steps)


@pytest.mark.parametrize(("kind", "component"), [(port.JOB, "client"), (port.JOB, "verify"), (port.DEPLOYMENT, "infer")])
def test_pods_have_little_time_to_end(kind, component):
    """A pod that does not listen to SIGTERM is killed after 5 s, so that it does not hold up its run's end."""
    spec = the_objects()[kind, f"eval-{ID}-{component}"]["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == 5


def test_a_step_reads_its_manifest():
    """The ConfigMap of the Job's name is mounted where the argument says."""
    job = the_objects()[port.JOB, f"eval-{ID}-verify"]["spec"]["template"]["spec"]
    [container] = job["containers"]
    assert container["args"] == ["verify-evaluation-output", "--manifest", "/dyff/manifest/manifest.json"]
    [volume] = [each for each in job["volumes"] if "configMap" in each]
    assert volume["configMap"]["name"] == f"eval-{ID}-verify"
    assert {"name": volume["name"], "mountPath": "/dyff/manifest", "readOnly": True} in container["volumeMounts"]


def test_a_runner_gets_what_the_user_gave():
    """Image, command, arguments, environment, directory and resources are the user's; the port is ours; memory is limited."""
    given = {
        "command": ["serve"],
        "args": ["--fast", "$(MODE)"],
        "env": [{"name": "MODE", "value": "x"}, {"name": "PORT", "value": "1"}],
        "workingDir": "/srv",
        "resources": {"requests": {"cpu": "2", "memory": "3Gi"}},
    }
    runner, _ = the_runner(**given)
    assert runner["image"].startswith("registry.example/service@sha256:")
    assert (runner["command"], runner["args"], runner["workingDir"]) == (["serve"], ["--fast", "$(MODE)"], "/srv")
    assert environment(runner) == {"HOME": "/tmp", "MODE": "x", "PORT": "8000"}
    assert runner["resources"]["requests"] == {"cpu": "2", "memory": "3Gi", "ephemeral-storage": "64Mi"}
    assert runner["resources"]["limits"] == {"memory": "3Gi", "ephemeral-storage": str(20 * 2**30)}
    assert runner["ports"] == [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]
    assert runner["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 8000}


def test_a_runner_without_wishes_has_no_empty_fields():
    """What was not asked for is absent, so that the image's own defaults hold."""
    runner, pod = the_runner()
    assert not {"command", "args", "workingDir", "envFrom"} & set(runner)
    assert "initContainers" not in pod


def test_gpus_are_limits():
    """An accelerator is asked for as that many devices of the first acceptable type."""
    runner, _ = the_runner(accelerator={"kind": "GPU", "gpu": {"hardwareTypes": ["nvidia.com/gpu", "other"], "count": 2}})
    assert runner["resources"]["limits"]["nvidia.com/gpu"] == "2"


def test_data_is_fetched_before_the_runner_starts():
    """A Data volume is filled by an init container and read-only in the runner; Scratch is writable and bounded."""
    runner, pod = the_runner(volumes=[DATA, SCRATCH])
    [fetch] = pod["initContainers"]
    assert fetch["args"] == ["fetch-data", "--source", f"models/{OTHER}/", "--destination", "/weights"]
    assert {"name": "the-weights", "mountPath": "/weights"} in fetch["volumeMounts"]
    assert runner["volumeMounts"] == [
        {"name": "the-weights", "mountPath": "/weights", "readOnly": True},
        {"name": "work", "mountPath": "/work"},
        {"name": "dyff-runner-tmp", "mountPath": "/tmp"},
    ]
    volumes = {each["name"]: each["emptyDir"] for each in pod["volumes"]}
    sizes = {"the-weights": "1Ti", "work": "2Gi", "dyff-tmp": "1Ti", "dyff-runner-tmp": "10Gi"}
    assert volumes == {name: {"sizeLimit": size} for name, size in sizes.items()}


@pytest.mark.parametrize(
    ("names", "want"),
    [
        (["data"], ["data"]),
        (["Data", "data", "data-2"], ["data", "data-2", "data-2-2"]),
        (["!!", ""], ["volume", "volume-2"]),
        (["dyff-tmp"], ["dyff-tmp-2"]),
        (["dyff-runner-tmp"], ["dyff-runner-tmp-2"]),
        (["x" * 99], ["x" * 50]),
    ],
)
def test_volume_names_are_allowed_and_different(names, want):
    """A mount's free text becomes a name that Kubernetes allows, the same text where it is one already."""
    assert deployment.volume_names(names) == want


def test_a_mock_needs_no_image():
    """The mock runner without an image runs ours."""
    runner, _ = the_runner(runner="mock", image=None)
    assert runner["image"] == "dyff/workflows/inferenceservice-mock"


CACHE = {"model": OTHER, "huggingFace": {"repoID": "acme/tiny", "revision": "abc"}, "args": ["--user", "arg"]}


def test_vllm_finds_its_model():
    """The model's cache is mounted, and vLLM gets the snapshot; the user's arguments follow."""
    runner, pod = the_runner(runner="vllm", **CACHE)
    snapshot = "/dyff/mnt/model/models--acme--tiny/snapshots/abc"
    assert runner["args"] == ["--model", snapshot, "--download-dir", "/dyff/mnt/model", "--user", "arg"]
    assert environment(runner)["HF_HOME"] == "/dyff/mnt/model"
    assert environment(runner)["TRANSFORMERS_OFFLINE"] == "1"
    assert pod["initContainers"][0]["args"][2:] == [f"models/{OTHER}/", "--destination", "/dyff/mnt/model"]


def test_huggingface_finds_its_model():
    """The Hugging Face runner gets the model's name and revision."""
    runner, _ = the_runner(runner="huggingface", **CACHE)
    assert runner["args"] == ["--model_name", "acme/tiny", "--model_revision", "abc", "--user", "arg"]


def test_the_service_leads_to_the_runners():
    """Port 80 of the Service goes to the runner's port of the pods that the Deployment makes."""
    objects = the_objects()
    service, pods = objects[port.SERVICE, f"eval-{ID}-infer"], objects[port.DEPLOYMENT, f"eval-{ID}-infer"]["spec"]
    assert service["spec"]["ports"] == [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8000}]
    assert service["spec"]["selector"] == pods["selector"]["matchLabels"]
    assert service["spec"]["selector"].items() <= pods["template"]["metadata"]["labels"].items()


def test_a_resource_made_by_hand_needs_no_labels():
    """A custom resource without labels gets parts with labels from its spec."""
    session = world.a_session()
    session["metadata"]["labels"] = {}
    there = World(session).settle()
    want = custom_resource.labels("inferencesession", "infer", world.ACCOUNT, ID)
    assert there.get(port.DEPLOYMENT, f"session-{ID}")["metadata"]["labels"] == want
