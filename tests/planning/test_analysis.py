"""An analysis's plans: one closed pod that fetches, runs the method and stores; and how each of its containers can fail."""

from __future__ import annotations

import json

import pytest

from dyff.cluster import port
from dyff.entities import registry
from dyff.kernel import analysis_settings, programs, quantities, settings
from dyff.operator import plan, pods
from tests.planning import world
from tests.planning.world import ID, World

KIND = registry.RESOURCE_BY_KIND["Analysis"]
RUN = f"analysis-{ID}-run"
PARTS = {"Analysis analysis-ID", "Job analysis-ID-run", "ConfigMap analysis-ID-run", "NetworkPolicy analysis-ID-run"}
STORE = {"DYFF_STORAGE_URL": "s3://bucket"}


def begun(setup=world.SETUP, **spec):
    """Created and looked at."""
    return World(world.an_analysis(**spec), setup=setup).settle()


def with_limits(operator=None, **chosen):
    return plan.Setup(operator or settings.Operator(), STORE, {}, analysis_settings.Analyses(**chosen))


def the_job(there):
    return there.get(port.JOB, RUN)["spec"]


def the_pod(there):
    return the_job(there)["template"]["spec"]


def the_container(there, name):
    pod = the_pod(there)
    return next(each for each in (*pod["initContainers"], *pod["containers"]) if each["name"] == name)


def status_of(*containers, phase="Failed"):
    """The status of a pod whose containers, in their order, are in these states."""
    named = [{"name": name, "restartCount": 0, "state": state} for name, state in zip(("fetch", "run", "step"), containers, strict=False)]
    return {"phase": phase, "initContainerStatuses": named[:2], "containerStatuses": named[2:]}


def ended(code=0, words="", reason="Error"):
    return {"terminated": {"exitCode": code, "message": words, "reason": reason if code else "Completed"}}


RUNS = {"running": {"startedAt": "2026-11-01T12:00:00Z"}}
NEXT = {"waiting": {"reason": "PodInitializing"}}


def failed(*containers, reason="BackoffLimitExceeded", setup=world.SETUP):
    """How the analysis ends when its Job has failed with a pod in that state."""
    there = begun(setup)
    there.run_pod(port.JOB, RUN, **status_of(*containers))
    there.set_status(port.JOB, RUN, conditions=[{"type": "Failed", "status": "True", "reason": reason}])
    found = there.settle().condition(KIND, "Failed")
    assert found["status"] == "True"
    return found


def test_one_job_with_its_spec_and_its_limits():
    """The manifest has the whole spec and, next to it, the limits of the settings; the policy is there before the Job."""
    there = begun(with_limits(timeout_s=61.5, memory="1Gi", log_bytes=2048, cell_bytes=4096, input_bytes=8192, output_bytes=16384))
    assert there.names() == PARTS
    assert json.loads(there.get(port.CONFIG_MAP, RUN)["data"]["manifest.json"]) == {
        "spec": world.an_analysis()["spec"],
        "limits": {
            "timeout_s": 62, "memory_bytes": 2**30, "log_bytes": 2048, "file_bytes": 16384, "cell_bytes": 4096, "input_bytes": 8192,
            "output_bytes": 16384,
        },
    }  # fmt: skip
    kinds = [kind for kind, name in there.objects if name == RUN]
    assert kinds.index(port.NETWORK_POLICY) < kinds.index(port.JOB)


def test_three_containers_run_one_after_the_other():
    """Fetch and store are our steps, in our image; the method runs in its environment, and only there."""
    there = begun(image="example.org/environment@sha256:" + "0" * 64)
    assert [each["name"] for each in the_pod(there)["initContainers"]] == ["fetch", "run"]
    fetch, run, store = (the_container(there, name) for name in ("fetch", "run", "step"))
    manifest = ["--manifest", "/dyff/manifest/manifest.json"]
    assert (fetch["args"], store["args"]) == (
        ["fetch-analysis", *manifest, "--destination", "/dyff/in"],
        ["store-analysis", *manifest, "--source", "/dyff/out"],
    )
    assert (run["image"], run["command"]) == ("example.org/environment@sha256:" + "0" * 64, ["python3", "-I"])
    assert run["args"] == ["/dyff/in/.dyff/runner", "--in", "/dyff/in", "--out", "/dyff/out"]
    assert the_container(begun(), "run")["image"] == "dyff/analysis"
    assert the_container(begun(with_limits(settings.Operator(analysis_image="example.org/ours"))), "run")["image"] == "example.org/ours"
    annotations = the_job(there)["template"]["metadata"]["annotations"]
    assert (annotations["dyff.io/steps"], annotations["dyff.io/environment"]) == ("fetch,step", "run")


def test_the_methods_container_has_nothing_of_ours():
    """No Secret, no manifest, no storage; the inputs are read-only, and it writes to its output and its temporary files only."""
    there = begun(plan.Setup(settings.Operator(storage_secret="storage", fetch_secret="hub"), STORE))
    run, fetch, store = (the_container(there, name) for name in ("run", "fetch", "step"))
    assert "envFrom" not in run
    assert {each["name"]: each["value"] for each in run["env"]} == {"HOME": "/tmp", "TMPDIR": "/tmp", "DYFF_CONFINE": "sockets"}
    assert {each["mountPath"]: each.get("readOnly", False) for each in run["volumeMounts"]} == {
        "/dyff/in": True, "/dyff/out": False, "/tmp": False,
    }  # fmt: skip
    assert [each["envFrom"] for each in (fetch, store)] == [[{"secretRef": {"name": "storage"}}]] * 2
    written = {each["mountPath"]: each.get("readOnly", False) for each in store["volumeMounts"]}
    assert written["/dyff/out"] is True
    assert "/dyff/out" not in {each["mountPath"] for each in fetch["volumeMounts"]}


def test_the_pod_has_no_rights():
    """It holds the restricted standard in every container, has no token, and the runtime that the settings name."""
    chosen = settings.Operator(programs=programs.Programs(runtime_class="gvisor", user_namespaces=True))
    pod = the_pod(begun(plan.Setup(chosen, STORE)))
    assert pod["automountServiceAccountToken"] is False
    assert (pod["runtimeClassName"], pod["hostUsers"]) == ("gvisor", False)
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    for each in (*pod["initContainers"], *pod["containers"]):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
        }  # fmt: skip
        assert "ephemeral-storage" in each["resources"]["limits"]
    assert all(set(each) == {"name", "emptyDir"} for each in pod["volumes"] if each["name"] != "dyff-manifest")
    assert all(each["emptyDir"]["sizeLimit"] for each in pod["volumes"] if "emptyDir" in each)


def test_what_a_method_may_use_is_set():
    """Memory is the limit and the request, the processor a request; without a setting there is no limit of memory."""
    chosen = the_container(begun(with_limits(memory="2Gi", cpu="3")), "run")["resources"]
    assert (chosen["requests"]["memory"], chosen["limits"]["memory"], chosen["requests"]["cpu"]) == ("2Gi", "2Gi", "3")
    assert "memory" not in the_container(begun(), "run")["resources"]["limits"]


@pytest.mark.parametrize(("chosen", "want"), [({}, "4Gi"), ({"memory": "512Mi"}, "512Mi")])
def test_on_kubernetes_there_is_always_a_limit_of_memory(chosen, want):
    """Without one, a method could use all that its node has."""
    setup = plan.Setup(settings.Operator(), STORE, {}, analysis_settings.Analyses(**chosen).on_kubernetes())
    assert the_container(begun(setup), "run")["resources"]["limits"]["memory"] == want
    assert setup.analyses.limits["memory_bytes"] == quantities.parse_bytes(want)


def test_waiting_and_fetching_take_nothing_of_the_methods_time():
    """Two attempts can use all of it, and everything around them has the time of a step."""
    there = begun(with_limits(settings.Operator(job_deadline_s=100), timeout_s=1000))
    assert (the_job(there)["activeDeadlineSeconds"], the_job(there)["backoffLimit"]) == (2100, 1)


@pytest.mark.parametrize(
    ("url", "reached"),
    [
        ("file:///srv/dyff", []),
        ("s3://bucket?endpoint=http://10.0.0.1:9000", [[{"ipBlock": {"cidr": "10.0.0.1/32"}}]]),
    ],
)
def test_its_network_is_closed_but_for_the_store(url, reached):
    """Nothing may connect to it, and it may connect to the object store only; whatever the settings grant an image of that name."""
    granted = {"dyff/analysis": settings.Image(command=("x",), network="outside", connect=("10.9.9.9:1",))}
    there = begun(plan.Setup(settings.Operator(), {"DYFF_STORAGE_URL": url}, granted))
    policy = there.get(port.NETWORK_POLICY, RUN)
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy["spec"]
    assert [rule["to"] for rule in policy["spec"].get("egress", ())] == reached
    labels = the_job(there)["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_network_stays_closed_until_the_last_pod_has_ended():
    """A policy that was changed is put right; when the analysis is deleted, it goes last."""
    there = begun()
    there.patch(port.NETWORK_POLICY, RUN, {"spec": {"egress": [{}]}})
    assert "egress" not in there.settle().get(port.NETWORK_POLICY, RUN)["spec"]
    pod = there.run_pod(port.JOB, RUN, **status_of(ended(), RUNS, {}, phase="Pending"))
    pod["metadata"]["finalizers"] = ["the kubelet's"]
    there.delete(port.custom(KIND), f"analysis-{ID}")
    there.settle()
    assert there.get(port.NETWORK_POLICY, RUN) is not None
    there.end_pods().settle()
    assert there.get(port.NETWORK_POLICY, RUN) is None


DOING = {
    "fetching": ((RUNS, NEXT, NEXT), "the analysis is fetching its inputs"),
    "between": ((ended(), NEXT, NEXT), "the analysis is running the method"),
    "running": ((ended(), RUNS, NEXT), "the analysis is running the method"),
    "storing": ((ended(), ended(), RUNS), "the analysis is storing its results"),
}


@pytest.mark.parametrize(("containers", "want"), DOING.values(), ids=DOING)
def test_the_message_says_which_container_is_at_work(containers, want):
    """Also between two of them, when none runs."""
    there = begun()
    there.run_pod(port.JOB, RUN, **status_of(*containers, phase="Pending"))
    found = there.settle().condition(KIND, "Complete")
    assert (found["reason"], found["message"]) == ("Running", want)


def test_an_environment_that_cannot_be_pulled_yet_is_named():
    """Waiting for an image is not running."""
    there = begun()
    pulls = {"waiting": {"reason": "ErrImagePull", "message": "connection refused"}}
    there.run_pod(port.JOB, RUN, **status_of(ended(), pulls, NEXT, phase="Pending"))
    assert "waits to start" in (said := there.settle().condition(KIND, "Complete")["message"])
    assert "connection refused" in said


def test_an_environment_that_is_missing_ends_the_analysis():
    """The message names the image that cannot be run, and not the step's."""
    there = begun(image="example.org/gone@sha256:" + "0" * 64)
    missing = {"waiting": {"reason": "ErrImageNeverPull", "message": "no setting"}}
    there.run_pod(port.JOB, RUN, **status_of(ended(), missing, NEXT, phase="Pending"))
    found = there.settle().condition(KIND, "Failed")
    assert (found["reason"], found["status"]) == ("ImageNotRunnable", "True")
    assert "example.org/gone" in found["message"]


def test_it_completes_and_removes_what_it_needs_no_more():
    """The Job stays for its log, and its network stays closed only while it has pods."""
    there = begun().end_job("run", prefix="analysis")
    assert there.condition(KIND, "Complete")["status"] == "True"
    assert there.names() == PARTS - {"NetworkPolicy analysis-ID-run"}


KILLED = ended(137, "computing\n", "OOMKilled")
ENDINGS = {
    "a deleted module": ((ended(65, "Module x was deleted"), NEXT, NEXT), "FetchFailed", "the analysis: Module x was deleted"),
    "a wrong manifest": ((ended(78, "limits: is missing"), NEXT, NEXT), "SchemaError", "limits: is missing"),
    "a fetch that fails by chance": ((ended(75, "the store does not answer"), NEXT, NEXT), "FetchFailed", "the store does not answer"),
    "killed for its memory": ((ended(), KILLED, NEXT), "OutOfMemory", "analyses.memory"),
    "a process of it killed for its memory": ((ended(), ended(12, "line 5: killed", "OOMKilled"), NEXT), "OutOfMemory", "line 5: killed"),
    "the same where nothing else says so": ((ended(), ended(12, "line 5: killed"), NEXT), "OutOfMemory", "the analysis: line 5: killed"),
    "killed": ((ended(), ended(137, "computing"), NEXT), "RunFailed", "container run of pod"),
    "over a limit": ((ended(), ended(137, "its files use more", "Evicted"), NEXT), "LimitExceeded", "its files use more"),
    "a program that cannot start": ((ended(), ended(128, "no such file", "StartError"), NEXT), "RunFailed", "no such file"),
    # But for 12, exit codes of the runner mean nothing: 11 is a code of the step that stores.
    "a runner with a strange code": ((ended(), ended(11, "?"), NEXT), "RunFailed", "exit code 11"),
    "the method failed": ((ended(), ended(), ended(10, "line 3 of a.py: boom")), "RunFailed", "the analysis: line 3 of a.py: boom"),
    "its output is wrong": ((ended(), ended(), ended(11, "the score x is missing")), "OutputInvalid", "the score x is missing"),
    "its memory ran out inside": ((ended(), ended(), ended(12, "line 4: MemoryError")), "OutOfMemory", "line 4: MemoryError"),
    "its time ran out": ((ended(), ended(), ended(13, "it ran for 5 s")), "DeadlineExceeded", "it ran for 5 s"),
    "storing fails": ((ended(), ended(), ended(75, "the store does not answer")), "StoreFailed", "the store does not answer"),
    "storing breaks": ((ended(), ended(), ended(1, "Traceback")), "StoreFailed", "Traceback"),
}


@pytest.mark.parametrize(("containers", "want_reason", "want_message"), ENDINGS.values(), ids=ENDINGS)
def test_each_container_fails_in_its_own_way(containers, want_reason, want_message):
    """The reason follows from the container that failed, its exit code and what killed it; the message has its last words."""
    found = failed(*containers)
    assert found["reason"] == want_reason
    assert want_message in found["message"]


EXHAUSTED = {"terminated": {"exitCode": 0, "reason": "OOMKilled"}}
HALTED = {
    "the method": ((ended(), EXHAUSTED, NEXT), "OutOfMemory", "analyses.memory"),
    "the fetch": ((EXHAUSTED, NEXT, NEXT), "FetchFailed", "it needs more memory"),
}


@pytest.mark.parametrize(("containers", "want_reason", "want_message"), HALTED.values(), ids=HALTED)
def test_a_pod_that_can_neither_go_on_nor_end_fails_its_analysis(containers, want_reason, want_message):
    """A kubelet starts nothing after a container that lost a process for its memory, and does not report the pod as failed if it ended
    with 0: the analysis ends without waiting for the deadline, with the last lines of that container, and takes its Job with it.
    """
    there = begun()
    pod = there.run_pod(port.JOB, RUN, **status_of(*containers, phase="Pending"))
    there.logs[pod["metadata"]["name"]] = "computing"
    found = there.settle().condition(KIND, "Failed")
    assert (found["status"], found["reason"]) == ("True", want_reason)
    assert want_message in found["message"]
    assert found["message"].endswith("Its last lines:\ncomputing")
    assert pods.lacks_words(pod) == ("run" if want_reason == "OutOfMemory" else "fetch")
    assert there.end_pods().settle().unfinished_jobs() == []


def test_a_step_that_lost_a_process_and_ended_well_has_succeeded():
    """For the last container of a pod, only the exit code counts."""
    there = begun()
    pod = there.run_pod(port.JOB, RUN, **status_of(ended(), ended(), EXHAUSTED, phase="Running"))
    assert pods.failure(pod, {}) is None
    assert there.settle().condition(KIND, "Failed")["status"] == "False"


def test_a_pod_that_is_evicted_says_which_container_wrote_too_much():
    """Kubernetes reports that for the whole pod, whose containers were only killed."""
    there = begun()
    said = 'Usage of EmptyDir volume "dyff-out" exceeds the limit "1Gi"'
    there.run_pod(port.JOB, RUN, **status_of(ended(), ended(137), NEXT), reason="Evicted", message=said)
    there.set_status(port.JOB, RUN, conditions=[{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}])
    found = there.settle().condition(KIND, "Failed")
    assert found["reason"] == "LimitExceeded"
    for each in ("container run of pod", "let the method write less", said):
        assert each in found["message"]


def test_only_what_a_retry_cannot_help_is_final():
    """Each rule is for one container by its name; whatever kills the method's own container as a whole is tried again."""
    disruption, *rules = the_job(begun())["podFailurePolicy"]["rules"]
    assert disruption["action"] == "Ignore"
    codes = {rule["onExitCodes"]["containerName"]: set(rule["onExitCodes"]["values"]) for rule in rules}
    assert set(codes) == {"fetch", "run", "step"}
    assert codes["run"] == {12}
    assert {65, 78} <= codes["fetch"]
    assert not {10, 70, 75, 143} & codes["fetch"]
    assert {10, 11, 12, 13, 78} <= codes["step"]
    assert not {70, 75, 143} & codes["step"]


def test_another_attempt_says_how_the_last_one_ended():
    """While the second attempt runs, the message names the failure of the first."""
    there = begun()
    there.run_pod(port.JOB, RUN, **status_of(ended(), KILLED, NEXT))
    there.run_pod(port.JOB, RUN, **status_of(ended(), RUNS, NEXT, phase="Pending"))
    message = there.settle().condition(KIND, "Complete")["message"]
    assert message.startswith("the analysis is running the method (after 1 failed attempt; the last: container run of pod")


def test_a_deadline_says_which_setting_allows_more():
    """Everything together took too long, although the method has a time limit of its own."""
    found = failed(ended(), RUNS, NEXT, reason="DeadlineExceeded")
    assert (found["reason"], "analyses.timeout_s" in found["message"]) == ("DeadlineExceeded", True)


@pytest.mark.parametrize("changes", [{"kind": "Other"}, {"modules": ["x"]}, {"inputs": [{"keyword": "a", "entity": "b"}]}])
def test_a_wrong_spec_is_refused(changes):
    """Nothing is made of it."""
    there = begun(**changes)
    assert there.condition(KIND, "Failed")["reason"] == "SchemaError"
    assert there.names() == {"Analysis analysis-ID"}
