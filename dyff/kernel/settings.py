"""Settings: declared once, typed, documented in docs/settings.md (a test compares), printable with `dyff config`.

They come, in rising order of precedence, from the defaults here, a YAML file (`--config` or `DYFF_CONFIG_FILE`),
environment variables (`DYFF_` + the path in capitals, levels joined by `__`, e.g. `DYFF_QUOTAS__ADMITTED=20`) and
flags. `HF_ENDPOINT` is the default of `operator.fetch_env.HF_ENDPOINT`. Unknown keys are an error. `{here}` in a file stands
for the file's directory. Nothing else in the program reads the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from dyff.kernel import engines, errors

PREFIX = "DYFF_"
_HUB = "HF_ENDPOINT"
"""What everyone who uses another hub has set already."""
_SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|KEY)$")
_NOT_SETTINGS = {"DYFF_CONFIG_FILE", "DYFF_API_TOKEN", "DYFF_API_ENDPOINT", "DYFF_API_INSECURE", "DYFF_REGISTRY_URL"}


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP API.

    `host`, `port`: where it listens. `public_url`: how clients reach it, used in signed URLs; None: from host and port.
    `max_body_bytes`: limit of a JSON body. `publish_timeout_s`: how long a command may take to become durable.
    `read_wait_s`: how long a read waits at most for the position that it asks for. `session_life_s`: after which an
    inference session ends that was created without `expires`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str | None = None
    max_body_bytes: int = 10 * 2**20
    publish_timeout_s: float = 10.0
    read_wait_s: float = 10.0
    session_life_s: Annotated[float, msgspec.Meta(gt=0, le=1e9)] = 86400.0


class Probes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`/health` and `/ready` of a process that may not have the api. `host`, `port`: where; None: only the api tells."""

    host: str = "127.0.0.1"
    port: int | None = None


class Bus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log. `partitions`: of events and state alike; fixed once the topics exist. `kafka`: where it is, if not here."""

    partitions: int = 4
    kafka: engines.Kafka = engines.Kafka()


class Quotas(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one account may use at once.

    `admitted`: workflows. `cpu`, `memory`: Kubernetes quantities, None: unlimited. `accelerators`: hardware type (such as
    `nvidia.com/gpu-t4`) to devices; a type that is not named is unlimited.
    """

    admitted: int = 8
    cpu: str | None = None
    memory: str | None = None
    accelerators: dict[str, Annotated[int, msgspec.Meta(ge=0)]] = {}


class Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the local cluster runs a container image.

    `command`: the program and its first arguments; the container's own `args` follow. `{port}` and `{mount:NAME}` are
    replaced. `env`: added to the container's. `readiness_path`: None: no HTTP readiness probe.
    """

    command: tuple[str, ...]
    env: dict[str, str] = {}
    readiness_path: str | None = "/ready"


class Pods(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pods of the local cluster.

    `max_job_pods`: Job pods that run at once; None: twice the cores. `images`: image name (`host/name`, or `name` for
    any host) to how it is run. `logs_max_bytes`: of one container's log. `orphan_grace_s`: after a server was killed, its
    pods run on for so long and wait to be found again; then they end.
    """

    max_job_pods: int | None = None
    images: dict[str, Image] = {}
    logs_max_bytes: int = 64 * 2**20
    orphan_grace_s: float = 600.0
    secrets_dir: str | None = None


class Orchestrator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The orchestrator.

    `finished_retention_s`: how long the custom resource of an ended workflow stays, with its Jobs, Pods and their logs.
    `resync_s`: everything is looked at again that often, even if nothing seems to have changed.
    """

    finished_retention_s: float = 3600.0
    resync_s: float = 30.0


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of deleted entities.

    `deleted_days`: so long after its deletion the entity and its stored data are kept, and for as long as a workflow that has
    not ended uses it; None: for ever. `sweep_s`: whether something is due is looked at that often.
    """

    deleted_days: Annotated[float, msgspec.Meta(ge=0, le=36500)] | None = 30.0
    sweep_s: Annotated[float, msgspec.Meta(gt=0)] = 600.0


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The operator.

    `steps_image`: the image of our own steps. `runner_port`: where a runner listens in its container.
    `session_start_deadline_s`: how long a session may take to become ready. `job_deadline_s`: of a step other than the
    evaluation client (which has its own `totalTimeoutSeconds`). `resync_s`: everything is looked at again that often.
    `fetch_env`: variables for the step that fetches models, and no other, such as `HF_ENDPOINT`. They are in the manifests of
    Jobs, so a secret is refused here: name its file (`HF_TOKEN_PATH`), or a Kubernetes Secret by `fetch_secret`, whose keys
    become variables, too. `storage_secret`: a Secret whose keys become variables of all our own steps, and of no user's container:
    the credentials of the object store.
    """

    steps_image: str = "dyff/workflows/steps"
    runner_port: int = 8000
    session_start_deadline_s: float = 900.0
    job_deadline_s: float = 3600.0
    resync_s: float = 30.0
    fetch_env: dict[str, str] = {}
    fetch_secret: str | None = None
    storage_secret: str | None = None

    def __post_init__(self) -> None:
        """Refuse a secret where everyone who may look at the cluster would see it."""
        for name in self.fetch_env:
            if _SECRET.search(name.upper()):
                raise ValueError(f"{name} is a secret, and would be in manifests; name a file by HF_TOKEN_PATH, or use fetch_secret")


class Migrations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who brings what is stored to what this release needs.

    `at_start`: `embedded`: a server does what is due in its data directory, and refuses to start on an engine where something
    is due; `everywhere`: it also does the `pre` steps on engines.
    """

    at_start: Literal["embedded", "everywhere"] = "embedded"


class Supervision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How roles are kept running.

    `shutdown_grace_s`: for all stages together, then what still runs is cancelled. A role that fails `max_failures`
    times within `window_s` ends the process. `stuck_s`: a role that has work to do and gets nothing done for so long is
    restarted, which counts as a failure; from half of that on `/ready` says so. None: never.
    """

    shutdown_grace_s: float = 10.0
    max_failures: int = 5
    window_s: float = 60.0
    stuck_s: Annotated[float, msgspec.Meta(ge=1)] | None = 120.0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings. `data_dir`: where everything embedded lives; one server at a time may use it."""

    data_dir: str = "dyff-data"
    log_level: str = "info"
    api: Api = Api()
    bus: Bus = Bus()
    query: engines.Query = engines.Query()
    accounts: engines.Accounts = engines.Accounts()
    objects: engines.Objects = engines.Objects()
    cluster: engines.Cluster = engines.Cluster()
    probes: Probes = Probes()
    quotas: Quotas = Quotas()
    pods: Pods = Pods()
    orchestrator: Orchestrator = Orchestrator()
    retention: Retention = Retention()
    operator: Operator = Operator()
    migrations: Migrations = Migrations()
    supervision: Supervision = Supervision()


def load(file: str | None = None, environment: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings in force. `flags`: dotted path to value, None values are not given.

    Raises:
        Misconfigured: an unknown key or a value of the wrong type; the message names it.
    """
    environment = os.environ if environment is None else environment
    file = file or environment.get("DYFF_CONFIG_FILE")
    tree: dict[str, Any] = _read(file) if file else {}
    for name, text in sorted(environment.items()):
        if name.startswith(PREFIX) and name not in _NOT_SETTINGS:
            _put(tree, name.removeprefix(PREFIX).lower().split("__"), text)
    if environment.get(_HUB):
        _put_default(tree, ["operator", "fetch_env", _HUB], environment[_HUB])
    for path, value in (flags or {}).items():
        if value is not None:
            _put(tree, path.split("."), value)
    try:
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise _misconfigured(error) from error


def _read(file: str) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(Path(file).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise errors.Misconfigured(f"the settings file {file} cannot be read: {error}") from error
    if tree is not None and not isinstance(tree, dict):
        raise errors.Misconfigured(f"the settings file {file} must be a mapping of settings")
    here = str(Path(file).absolute().parent)
    return {key: _placed(value, here) for key, value in (tree or {}).items()}


def _placed(value: Any, here: str) -> Any:
    """`{here}` in any text of a settings file stands for the file's own directory."""
    if isinstance(value, dict):
        return {key: _placed(each, here) for key, each in value.items()}
    if isinstance(value, list):
        return [_placed(each, here) for each in value]
    return value.replace("{here}", here) if isinstance(value, str) else value


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for step in path[:-1]:
        tree = tree.setdefault(step, {})
        if not isinstance(tree, dict):
            raise errors.Misconfigured(f"the setting {'.'.join(path)} is inside something that is not a group")
    tree[path[-1]] = value


def _put_default(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for step in path[:-1]:
        tree = tree.setdefault(step, {})
        if not isinstance(tree, dict):
            return  # wrong, which is told when it is converted
    tree.setdefault(path[-1], value)


def _misconfigured(error: msgspec.ValidationError) -> errors.Misconfigured:
    """The vendor's sentence names the path as `$.api.port`; ours as a setting."""
    return errors.Misconfigured(f"settings: {str(error).replace('`$.', '`')}; docs/settings.md lists all of them")
