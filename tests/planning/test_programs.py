"""Pods that run what an account chose have no rights, no credentials, bounded space, and only steps of ours are marked as such."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dyff.cluster import port
from dyff.entities import registry, variables
from dyff.kernel import images, programs, settings
from dyff.operator import plan
from tests import kinds
from tests.planning import world
from tests.planning.world import ID, OTHER, World

REAL_STEPS = "registry.example/dyff:1.0"
DATA = {"kind": "Data", "name": "weights", "mountPath": "/weights", "source": {"kind": "Model", "id": OTHER}}
SCRATCH = {"kind": "Scratch", "name": "work", "mountPath": "/work", "capacity": "2Gi"}
SECRETS: dict[str, Any] = {"storage_secret": "storage", "fetch_secret": "hub"}


def the_template(chosen: settings.Operator | None = None, **spec):
    """The pod template of a session's Deployment."""
    setup = plan.Setup(chosen or settings.Operator(steps_image=REAL_STEPS, **SECRETS), {"DYFF_STORAGE_URL": "s3://bucket"})
    there = World(world.a_session(**spec), setup=setup).settle()
    return there.get(port.DEPLOYMENT, f"session-{ID}")["spec"]["template"]


def the_pod(**spec):
    return the_template(**spec)["spec"]


@pytest.mark.parametrize("image", [REAL_STEPS, "registry.example/dyff@sha256:" + "0" * 64, "dyff/workflows/steps", images.STEPS])
def test_an_account_that_names_the_real_steps_gets_nothing_of_theirs(image):
    """It has no Secret, no service account, no variable of ours, and is not marked as a step, even with the steps' own arguments."""
    template = the_template(image=image, command=["python3", "-P", "-m", "dyff.workflows"], args=["fetch-data"], volumes=[DATA])
    pod, (runner,) = template["spec"], template["spec"]["containers"]
    assert not {"envFrom"} & set(runner)
    assert pod["automountServiceAccountToken"] is False
    assert not {"serviceAccountName", "imagePullSecrets", "hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert not [each for each in runner["env"] if each["name"].startswith("DYFF_") or "valueFrom" in each]
    assert "storage" not in json.dumps(runner["env"])
    assert template["metadata"]["annotations"]["dyff.io/steps"] == "fetch-weights"


def test_volumes_lead_to_no_secret_and_no_config_map():
    """All volumes of a runner's pod are empty folders with a limit."""
    volumes = the_pod(volumes=[DATA, SCRATCH])["volumes"]
    assert {each["name"]: list(each) for each in volumes} == {name: ["name", "emptyDir"] for name in (
        "weights", "work", "dyff-runner-tmp", "dyff-tmp",
    )}  # fmt: skip
    assert all("sizeLimit" in each["emptyDir"] for each in volumes)


@pytest.mark.parametrize("path", ["/x$(AWS_SECRET_ACCESS_KEY)", "/$$(AWS_SECRET_ACCESS_KEY)", "/$/$$/$(HOME)/$"])
def test_no_text_of_a_spec_refers_to_a_variable_of_a_step(path):
    """Kubernetes expands `$(VAR)` in arguments. Where data is mounted is an argument of a step, whose Secrets would be in its messages."""
    pod = the_pod(volumes=[{**DATA, "mountPath": path}])
    (fetch,) = pod["initContainers"]
    secret = {"AWS_SECRET_ACCESS_KEY": "s3cret", "HOME": "s3cret"}
    assert [variables.expand(each, secret) for each in fetch["args"]] == [
        "fetch-data",
        "--source",
        f"models/{OTHER}/",
        "--destination",
        path,
    ]
    assert fetch["volumeMounts"][-1]["mountPath"] == path


def test_steps_get_no_variable_of_an_account():
    """The fetch in a session's pod has our variables only, and the Secret of the storage."""
    pod = the_pod(volumes=[DATA], env=[{"name": "MODEL", "value": "x"}, {"name": "TMPDIR", "value": "/weights"}])
    (fetch,) = pod["initContainers"]
    assert {each["name"]: each.get("value") for each in fetch["env"]} == {
        "DYFF_ATTEMPT": None,
        "TMPDIR": "/dyff/tmp",
        "DYFF_STORAGE_URL": "s3://bucket",
    }
    assert fetch["envFrom"] == [{"secretRef": {"name": "storage"}}]


def test_no_text_of_a_spec_becomes_an_annotation():
    """Whatever an account writes, the annotations are the operator's: two of them, made from the names of the containers."""
    evil = {"kind": "Data", "name": "runner,runner", "mountPath": "/x", "source": {"kind": "Model", "id": OTHER}}
    template = the_template(args=["dyff.io/steps"], env=[{"name": "A", "value": "runner"}], volumes=[evil])
    assert template["metadata"]["annotations"] == {
        "dyff.io/resource": f"InferenceSession/session-{ID}",
        "dyff.io/steps": "fetch-runner-runner",
    }


def test_labels_and_annotations_of_an_entity_stay_in_the_entity():
    """Accounts can label and annotate their entities; nothing of that reaches the cluster, where labels and annotations decide."""
    mine = {"dyff.io/steps": "runner", "dyff.io/component": "client", "dyff.io/account": "other"}
    service = {"id": OTHER, "interface": world.INTERFACE, "runner": {"kind": "mock"}, "labels": mine}
    entity = {
        "id": ID, "kind": "InferenceSession", "account": "acme", "inferenceService": service, "labels": mine,
        "annotations": [{"key": "dyff.io/steps", "value": "runner"}], "metadata": {"documentation": mine},
    }  # fmt: skip
    resource = registry.resource_for(entity)
    template = World(resource).settle().get(port.DEPLOYMENT, f"session-{ID}")["spec"]["template"]
    for each in (resource, template):
        assert each["metadata"]["labels"]["dyff.io/account"] == "acme"
        assert "dyff.io/steps" not in {**each["metadata"]["labels"], **each["metadata"].get("annotations", {})}
    assert template["metadata"]["labels"]["dyff.io/component"] == "infer"


def test_every_job_of_ours_marks_its_step():
    """The client, the verification and the fetch of a model are steps, each in the container of that name."""
    there = World(world.an_evaluation()).settle().serve()
    jobs = [there.get(port.JOB, f"eval-{ID}-client")]
    there.end_job("client")
    jobs.append(there.get(port.JOB, f"eval-{ID}-verify"))
    jobs.append(World(world.a_model()).settle().get(port.JOB, f"model-{ID}-fetch"))
    for job in jobs:
        template = job["spec"]["template"]
        assert template["metadata"]["annotations"]["dyff.io/steps"] == "step"
        assert [each["image"] for each in template["spec"]["containers"]] == [images.STEPS]


@pytest.mark.parametrize(
    ("chosen", "want"),
    [
        (programs.Programs(), {}),
        (programs.Programs(runtime_class="gvisor"), {"runtimeClassName": "gvisor"}),
        (programs.Programs(user_namespaces=True), {"hostUsers": False}),
    ],
)
def test_the_administrator_chooses_the_runtime(chosen, want):
    """`operator.programs` sets the runtime class and the user namespace of these pods."""
    pod = the_template(settings.Operator(programs=chosen))["spec"]
    assert {key: pod[key] for key in ("runtimeClassName", "hostUsers") if key in pod} == want


def test_a_pod_has_numbers_for_its_user_and_the_runtimes_filter():
    """`runAsNonRoot` alone would refuse images whose user is a name."""
    assert the_pod()["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@pytest.mark.parametrize(
    ("volumes", "want"),
    [
        ([], 20 * 2**30),
        ([SCRATCH], 22 * 2**30),
        ([SCRATCH, DATA], 22 * 2**30 + 2**40),
        ([{**SCRATCH, "capacity": "9" * 60}], 2**63 - 1),
        ([{**SCRATCH, "capacity": 2**62}], 2**62 + 20 * 2**30),
    ],
)
def test_the_disk_of_a_pod_is_bounded(volumes, want):
    """The limit is that of all its volumes, of `/tmp` and of its log; only a little is reserved."""
    runner = the_pod(volumes=volumes)["containers"][0]
    assert runner["resources"]["limits"]["ephemeral-storage"] == str(want)
    assert runner["resources"]["requests"]["ephemeral-storage"] == "64Mi"


def test_no_more_disk_is_reserved_than_may_be_used():
    """An API server refuses a request above its limit, so with small limits in the settings less is reserved."""
    chosen = settings.Operator(programs=programs.Programs(tmp_limit="5Mi", data_limit="1Mi"))
    template = the_template(chosen, volumes=[DATA])
    (runner,), (fetch,) = template["spec"]["containers"], template["spec"]["initContainers"]
    assert runner["resources"]["requests"]["ephemeral-storage"] == str(11 * 2**20)
    assert fetch["resources"]["requests"]["ephemeral-storage"] == "1Mi"


@pytest.mark.parametrize("path", ["/tmp", "/tmp/", "//tmp", "///tmp//"])
def test_a_volume_of_the_user_can_be_the_temporary_folder(path):
    """The root is read-only, so there is a writable `/tmp`, unless a volume is mounted there."""
    pod = the_pod(volumes=[{**SCRATCH, "mountPath": path}])
    assert [each["mountPath"] for each in pod["containers"][0]["volumeMounts"]] == [path]
    assert [each["name"] for each in pod["volumes"]] == ["work"]


@pytest.mark.parametrize(
    "name", ["memory", "cpu", "ephemeral-storage", "storage", "pods", "hugepages-2Mi", "requests.nvidia.com/gpu", "kubernetes.io/batch-cpu"]
)
def test_an_accelerator_replaces_no_other_limit(name):
    """A hardware type that is no device would set a limit of memory or disk: the session fails with what to do."""
    session = world.a_session(accelerator={"kind": "GPU", "gpu": {"hardwareTypes": [name], "count": 2**31 - 1}})
    there = World(session).settle()
    failed = there.condition(registry.RESOURCE_BY_KIND["InferenceSession"], "Failed")
    assert (failed["reason"], name in failed["message"]) == ("NotSupported", True)
    assert there.names() == {"InferenceSession session-ID"}


@pytest.mark.parametrize(
    ("env", "want"),
    [
        ([{"name": "LD_PRELOAD", "value": "/weights/evil.so"}], "LD_PRELOAD changes how programs are loaded"),
        ([{"name": "a=b", "value": ""}], "no name of a variable"),
        ([{"name": "A", "value": "x" * 30_000}, *({"name": "A", "value": "$(A)$(A)$(A)$(A)"} for _ in range(40))], "larger than"),
    ],
    ids=["a loader", "no name", "a bomb"],
)
def test_a_service_of_an_earlier_release_is_held_to_the_same_rules(env, want):
    """What the API refuses now can be in a service that exists: its sessions fail and say which variable it is."""
    there = World(world.a_session(env=env)).settle()
    failed = there.condition(registry.RESOURCE_BY_KIND["InferenceSession"], "Failed")
    assert failed["reason"] == "NotSupported"
    assert want in failed["message"]
    assert there.names() == {"InferenceSession session-ID"}


def test_what_an_earlier_release_started_runs_to_its_end():
    """A session that serves at the upgrade is not ended for a variable that new ones cannot have."""
    there = World(world.a_session()).settle().serve(f"session-{ID}")
    there.get(kinds.INFERENCE_SESSION, f"session-{ID}")["spec"]["env"] = [{"name": "LD_PRELOAD", "value": "x"}]
    there.settle()
    assert there.get(port.DEPLOYMENT, f"session-{ID}") is not None


def test_a_session_without_an_end_gets_one():
    """Nothing runs for ever: after `operator.programs.max_life_s` it has expired, and its pods are gone."""
    chosen = settings.Operator(programs=programs.Programs(max_life_s=3600))
    there = World(world.a_session(), setup=plan.Setup(chosen)).settle().serve(f"session-{ID}")
    assert there.after(seconds=3599).get(port.DEPLOYMENT, f"session-{ID}") is not None
    assert there.after(seconds=2).get(port.DEPLOYMENT, f"session-{ID}") is None
    assert there.condition(registry.RESOURCE_BY_KIND["InferenceSession"], "Complete")["reason"] == "Expired"


@pytest.mark.parametrize(
    ("field", "value"), [("tmp_limit", "much"), ("data_limit", ""), ("callers", ("10.0.0.1/8",)), ("storage", ("example.com",))]
)
def test_wrong_settings_are_refused(field, value):
    """What the API server would refuse for every session is refused at the start, with the name of the setting."""
    with pytest.raises(ValueError, match=field):
        programs.Programs(**{field: value})
