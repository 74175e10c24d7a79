"""A cluster as plain values: enough of Kubernetes to try plans on, and hands to play the kubelet with. No I/O."""

from __future__ import annotations

import copy
import itertools
from datetime import UTC, datetime, timedelta

from dyff.cluster import conditions, port
from dyff.entities import custom_resource, registry
from dyff.kernel import clock, patches, settings
from dyff.operator import jobs, plan, pods
from dyff.operator.kinds import table

ACCOUNT = "acme"
ID = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
DATASET = "11111111111111111111111111111111"
INTERFACE = {"endpoint": "generate", "outputSchema": {"arrowSchema": ""}}
START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
SETUP = plan.Setup(
    settings.Operator(session_start_deadline_s=900, job_deadline_s=3600, resync_s=30), {"DYFF_STORAGE_URL": "file:///srv/dyff"}
)


def a_template(**changes):
    """What a session runs: by default a container with an image."""
    image = "registry.example/service@sha256:" + "0" * 64
    return {"service": OTHER, "runner": "container", "image": image, "resources": {"requests": {}}, "replicas": 1, **changes}


def an_evaluation(session=None, **changes):
    """An Evaluation with a session of its own."""
    spec = {"id": ID, "account": ACCOUNT, "dataset": DATASET, "interface": INTERFACE, "client": {}}
    return _resource(registry.RESOURCE_BY_KIND["Evaluation"], {**spec, "inferenceSession": a_template(**(session or {})), **changes})


def an_evaluation_of_a_running_session():
    """An Evaluation that refers to the session `OTHER`."""
    evaluation = an_evaluation(inferenceSessionReference=OTHER)
    del evaluation["spec"]["inferenceSession"]
    return evaluation


def a_session(entity_id=ID, **changes):
    """An interactive InferenceSession."""
    return _resource(registry.RESOURCE_BY_KIND["InferenceSession"], {"id": entity_id, "account": ACCOUNT, **a_template(**changes)})


def a_model(**changes):
    """A Model that is fetched."""
    source = {"kind": "HuggingFaceHub", "huggingFaceHub": {"repoID": "acme/tiny", "revision": "abc"}}
    return _resource(
        registry.RESOURCE_BY_KIND["Model"], {"id": ID, "account": ACCOUNT, "source": source, "artifact": {"kind": "Volume"}, **changes}
    )


def a_service(entity_id=ID, **changes):
    """An InferenceService, of which nothing runs."""
    return _resource(registry.RESOURCE_BY_KIND["InferenceService"], {"id": entity_id, "account": ACCOUNT, **a_template(**changes)})


def an_analysis(**changes):
    """An Analysis."""
    spec = {"id": ID, "account": ACCOUNT, "kind": "Measurement", "method": OTHER, **changes}
    return _resource(registry.RESOURCE_BY_KIND["Analysis"], spec)


def _resource(kind, spec):
    labels = custom_resource.labels(kind.kind, kind.kind, ACCOUNT, spec["id"])
    meta = {"name": custom_resource.name(kind, spec["id"]), "labels": labels, "finalizers": [custom_resource.FINALIZER]}
    return {"apiVersion": custom_resource.GROUP_VERSION, "kind": kind.kind, "metadata": meta, "spec": spec}


class World:
    """Objects by kind and name. What ours creates, changes and deletes behaves as on an API server."""

    def __init__(self, *created, now=START, setup=SETUP):
        self.now, self.setup = now, setup
        self.objects, self.logs = {}, {}
        self._numbers = itertools.count(1)
        for obj in created:
            self.create(table.BY_KIND[obj["kind"]].kind, obj)

    # what the API server does

    def create(self, kind, obj):
        name = obj["metadata"]["name"]
        assert (kind, name) not in self.objects, f"{kind.kind} {name} exists"
        obj = copy.deepcopy(obj)
        created = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        obj["metadata"].update(uid=f"uid-{next(self._numbers)}", generation=1, creationTimestamp=created)
        self.objects[kind, name] = obj
        self._touch(obj)
        return obj

    def delete(self, kind, name, uid=None):
        obj = self.objects[kind, name]
        assert uid in (None, obj["metadata"]["uid"])
        if obj["metadata"].get("finalizers"):
            obj["metadata"].setdefault("deletionTimestamp", clock.iso(self.now))
            self._touch(obj)
        else:
            del self.objects[kind, name]
            self._collect_garbage()

    def patch(self, kind, name, patch, *, status=False):
        obj = self.objects[kind, name]
        version = patch.get("metadata", {}).get("resourceVersion")
        assert version in (None, obj["metadata"]["resourceVersion"]), "stale"
        patch = {"status": patch["status"]} if status else {key: value for key, value in patch.items() if key != "status"}
        self.objects[kind, name] = obj = patches.merged(obj, copy.deepcopy(patch))
        self._touch(obj)
        if obj["metadata"].get("deletionTimestamp") and not obj["metadata"].get("finalizers"):
            del self.objects[kind, name]
            self._collect_garbage()

    def _touch(self, obj):
        obj["metadata"]["resourceVersion"] = str(next(self._numbers))

    def _collect_garbage(self):
        uids = {obj["metadata"]["uid"] for obj in self.objects.values()}
        for (kind, name), obj in list(self.objects.items()):
            owners = obj["metadata"].get("ownerReferences") or []
            if owners and not any(owner["uid"] in uids for owner in owners) and (kind, name) in self.objects:
                self.delete(kind, name)

    # what the operator does

    def observe(self, request):
        row = table.BY_KIND[request.kind]
        resource = self.objects.get((row.kind, request.name))
        wanted = row.wanted(request.name, resource)
        refs = (*wanted.children, *wanted.others)
        objects = {ref: self.objects[ref.kind, ref.name] for ref in refs if (ref.kind, ref.name) in self.objects}
        urls = {name: f"http://{name}:80" for name in wanted.services if (port.SERVICE, name) in self.objects}
        observed = plan.Observed(request, wanted, resource, objects, (), urls, self.logs)
        if table.needs_pods(observed):
            own = tuple(pod for pod in self.pods() if pod["metadata"]["labels"]["dyff.io/component"] in wanted.components)
            observed = plan.Observed(request, wanted, resource, objects, own, urls, self.logs)
        return copy.deepcopy(observed)

    def decide(self, request):
        return table.decide(self.observe(request), self.now, self.setup)

    def apply(self, request, decided):
        if decided.status_patch is not None:
            self.patch(table.BY_KIND[request.kind].kind, request.name, {"status": decided.status_patch}, status=True)
        for action in decided.actions:
            match action:
                case plan.Create():
                    self.create(action.kind, action.obj)
                case plan.Delete():
                    self.delete(action.kind, action.name, action.uid)
                case plan.Patch():
                    self.patch(action.kind, action.name, action.patch)

    def requests(self):
        """Everything to look at, as the controller finds it."""
        found = [request for obj in self.objects.values() for request in table.concerned(obj)]
        return list(dict.fromkeys(found))

    def settle(self):
        """Plan and apply until no plan wants anything."""
        for _ in range(20):
            decided = [(request, self.decide(request)) for request in self.requests()]
            if all(each.empty for _, each in decided):
                return self
            for request, _ in decided:
                self.apply(request, self.decide(request))
        raise AssertionError(f"plans never come to rest: {decided}")

    def after(self, **span):
        """Some time later, with everything looked at."""
        self.now += timedelta(**span)
        return self.settle()

    # what controllers, the kubelet and people do

    def get(self, kind, name):
        return self.objects.get((kind, name))

    def pods(self, component=None):
        found = [obj for (kind, _), obj in self.objects.items() if kind == port.POD]
        return [pod for pod in found if component in (None, pod["metadata"]["labels"]["dyff.io/component"])]

    def run_pod(self, kind, name, **status):
        """A pod of a Job or Deployment; `status` as the kubelet would write it."""
        owner = self.objects[kind, name]
        template = owner["spec"]["template"]
        reference = {"kind": owner["kind"], "name": name, "uid": owner["metadata"]["uid"], "controller": True}
        meta = {**copy.deepcopy(template["metadata"]), "name": f"{name}-{next(self._numbers)}", "ownerReferences": [reference]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": copy.deepcopy(template["spec"])}
        created = self.create(port.POD, pod)
        created["status"] = status or {"phase": "Running"}
        return created

    def end_pods(self):
        """The pods that are being deleted end."""
        for pod in self.pods():
            if pod["metadata"].get("deletionTimestamp"):
                pod["status"] = {**pod.get("status", {}), "phase": "Failed"}
        return self

    def end_job(self, component, *, exit_code=0, words="", failed="BackoffLimitExceeded", prefix="eval"):
        """The Job of a step ends, and its pod with that exit code."""
        name = f"{prefix}-{ID}-{component}"
        ended = {"exitCode": exit_code, "message": words}
        status = {"phase": "Failed" if exit_code else "Succeeded", "containerStatuses": [{"name": "step", "state": {"terminated": ended}}]}
        running = [pod for pod in self.pods(component) if pods.live(pod)]
        (running[0] if running else self.run_pod(port.JOB, name))["status"] = status
        kind = {"type": "Failed", "reason": failed} if exit_code else {"type": "Complete", "reason": "CompletionsReached"}
        self.set_status(port.JOB, name, conditions=[{**kind, "status": "True"}])
        return self.settle()

    def set_status(self, kind, name, **status):
        self.patch(kind, name, {"status": status}, status=True)

    def serve(self, name=f"eval-{ID}-infer", ready=1):
        """The Deployment has that many ready replicas."""
        self.set_status(port.DEPLOYMENT, name, readyReplicas=ready)
        return self.settle()

    def show_pods(self, name, **container):
        """The Deployment has one pod whose runner is in that state."""
        for pod in self.pods("infer"):
            self.delete(port.POD, pod["metadata"]["name"])
        self.run_pod(port.DEPLOYMENT, name, phase="Pending", containerStatuses=[{"name": "runner", "restartCount": 0, **container}])
        return self.settle()

    # what a test asks

    def condition(self, resource_kind, kind, entity_id=ID, component=None):
        name = custom_resource.name(resource_kind, entity_id, component)
        found = self.objects[port.custom(resource_kind), name]
        return conditions.get(found, kind)

    def names(self):
        """Everything that is there, as `Kind name`, without IDs, resources and pods first left out."""
        found = [f"{kind.kind} {name.replace(ID, 'ID').replace(OTHER, 'OTHER')}" for kind, name in self.objects if kind != port.POD]
        return set(found)

    def living_pods(self):
        return [pod["metadata"]["name"] for pod in self.pods() if pods.live(pod)]

    def unfinished_jobs(self):
        return [name for (kind, name), obj in self.objects.items() if kind == port.JOB and not jobs.ended(obj)]
