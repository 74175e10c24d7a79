"""The step that fetches models, run on stores and hubs of the tests."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from unittest import mock

import huggingface_hub
import msgspec

from dyff.entities import registry
from tests.narrowing import sure
from tests.workflows import runs

MODEL = "0d" * 16
REPO = "org/tiny"
CONFIG = b'{"model_type": "tiny"}'
WEIGHTS = random.Random(7).randbytes(300_000)
PART = 16 * 2**20


class Fetch:
    """The step on a store of its own."""

    def __init__(self, store, steps, directory):
        self.store, self.steps, self.directory, self.root = store, steps, directory, store.objects / "models" / MODEL
        self.environment = {"DYFF_FETCH_ALLOWED_HOSTS": "127.0.0.1,localhost"}
        """The hubs of the tests are on this machine."""

    def command(self, source, artifact=None, storage="1Gi"):
        artifact = artifact or {"kind": "HuggingFaceCache", "huggingFaceCache": {"repoID": REPO, "revision": "main"}}
        entity = {"source": source, "artifact": artifact, "resources": {"storage": storage} if storage else {}}
        manifest = self.directory / "model.json"
        manifest.write_bytes(
            msgspec.json.encode({"spec": {"id": MODEL, "account": "a", **sure(registry.BY_KIND["Model"].run).spec(entity)}})
        )
        return ["--manifest", str(manifest)]

    def start(self, *args, **kwargs):
        passed = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "TMPDIR": str(self.directory)}
        environment = {**passed, "DYFF_STORAGE_URL": self.store.url, "DYFF_ATTEMPT": "one", **self.environment}
        command = [sys.executable, "-m", "dyff.workflows", "fetch-model", *self.command(*args, **kwargs)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, *args, process=False, **kwargs):
        """In this process, which is faster, unless a process is asked for."""
        if not process:
            try:
                with mock.patch.dict(os.environ, self.environment):
                    return self.steps.call("fetch-model", *self.command(*args, **kwargs))
            finally:
                huggingface_hub.close_session()  # otherwise its connections live as long as this process
        running = self.start(*args, **kwargs)
        output, _ = running.communicate(timeout=60)
        return runs.Run(running.returncode, output.splitlines())

    def hub(self, revision="main", repo=REPO, *, allow=None, ignore=None, **kwargs):
        return self.run(hub_source(revision, repo, allow=allow, ignore=ignore), **kwargs)

    def manifest(self):
        file = self.root / ".dyff" / "artifacts.json"
        return msgspec.json.decode(file.read_bytes()) if file.exists() else None

    def mounted(self, steps, target):
        """The tree as a pod gets it."""
        done = steps.call("fetch-data", "--source", f"models/{MODEL}/", "--destination", target)
        assert done.code == 0, done
        return target

    def blobs(self):
        return sorted(file.name for file in (self.root / ".dyff" / "blobs").iterdir())

    def parts(self):
        return sorted((self.root / ".dyff" / "parts").rglob("*")) if (self.root / ".dyff" / "parts").exists() else []


def hub_source(revision="main", repo=REPO, allow=None, ignore=None):
    return {
        "kind": "HuggingFaceHub",
        "huggingFaceHub": {"repoID": repo, "revision": revision, "allowPatterns": allow, "ignorePatterns": ignore},
    }


def git_source(url):
    return {"kind": "GitLFS", "gitLFS": {"url": url}}


VOLUME = {"kind": "Volume", "volume": {"files": []}}
