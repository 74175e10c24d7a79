"""Settings: declared once, typed, documented in docs/settings.md (a test compares them), printable with `dyff config`.

They come, in rising order of precedence, from the defaults here, a YAML file (`--config` or `DYFF_CONFIG_FILE`),
environment variables (`DYFF_` + the path in capitals, levels joined by `__`, e.g. `DYFF_QUOTAS__ADMITTED=20`) and
flags. `HF_ENDPOINT` is the default of `operator.fetch_env.HF_ENDPOINT`, and OpenTelemetry's variables are those of `telemetry`
(`telemetry_settings`). Unknown names are an error; `settings_names` has the variables
with this prefix that are not settings. `{here}` in a file stands for the file's directory (`settings_sources`). Nothing else in the
program reads the environment.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from dyff.kernel import (
    addresses,
    analysis_settings,
    engines,
    images,
    log_settings,
    pod_limits,
    programs,
    settings_names,
    settings_printing,
    settings_sources,
    telemetry_settings,
)

PREFIX = settings_names.PREFIX


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP API.

    `host`, `port`: the address to listen on. `public_url`: the URL under which clients reach it, used in signed URLs; None to
    derive it from host and port. `max_body_bytes`: limit of a JSON body. `publish_timeout_s`: time within which a command must
    become durable. `read_wait_s`: the longest time that a read waits for the position that it requests. `session_life_s`:
    lifetime of an inference session that was created without `expires`. `finalize_wait_s`: the longest time that finalize waits until
    the uploaded files are sealed; after it, the answer has the reason `Finalizing`. `clock_leeway_s`: how far the clock that issued a
    token may be ahead of ours.

    Limits on what a client may cost before its token is known: `max_url_bytes`; `max_headers` and `max_headers_bytes`, with trailers;
    `head_timeout_s`: time for the head of a request; `idle_timeout_s`: time without a first request; `keep_alive_s`: time without a
    further one; `stall_timeout_s`: time without progress of a body or of an answer; `max_connections`: fewer if there are too few file
    descriptors.

    Limits on answers that are too large to be held in memory: `max_large_answers`: how many are sent at the same time, of which one
    account can have a quarter; `large_answer_timeout_s`: time in which one must be taken by its client.

    `trusted_proxies`: addresses and networks of proxies that say who the client is, by the `forwarded_headers`.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8000
    public_url: str | None = None
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 10 * 2**20
    publish_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    read_wait_s: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    session_life_s: Annotated[float, msgspec.Meta(gt=0, le=1e9)] = 86400.0
    finalize_wait_s: Annotated[float, msgspec.Meta(ge=0, le=20)] = 5.0
    clock_leeway_s: Annotated[float, msgspec.Meta(ge=0, le=300)] = 30.0
    max_url_bytes: Annotated[int, msgspec.Meta(ge=1024, le=65_535)] = 65_535
    max_headers: Annotated[int, msgspec.Meta(ge=10, le=10_000)] = 128
    max_headers_bytes: Annotated[int, msgspec.Meta(ge=1024, le=2**20)] = 32 * 2**10
    head_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    idle_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    keep_alive_s: Annotated[float, msgspec.Meta(gt=0)] = 90.0
    stall_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    max_connections: Annotated[int, msgspec.Meta(ge=1)] = 4096
    max_large_answers: Annotated[int, msgspec.Meta(ge=1)] = 16
    large_answer_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    trusted_proxies: tuple[str, ...] = ()
    forwarded_headers: Literal["x-forwarded", "forwarded"] = "x-forwarded"

    def __post_init__(self) -> None:
        """Refuse a proxy that is no address."""
        for each in self.trusted_proxies:
            try:
                ipaddress.ip_network(each, strict=False)
            except ValueError as error:
                raise ValueError(f"trusted_proxies: {each!r} is no address or network, such as 10.0.0.0/8") from error


class Probes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`/health` and `/ready` of a process that need not run the API. `host`, `port`: where; `port` None if only the API serves them."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] | None = None


class Console(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the api shows to those who look. `probes`: by role, where the probes of other processes are, each as
    `host:port`, for `GET /v0/system`.
    """

    probes: dict[Literal["api", "aggregator", "sink", "orchestrator", "informer", "operator"], tuple[str, ...]] = {}

    def __post_init__(self) -> None:
        """Refuse a place that is no `host:port`."""
        for each in (place for several in self.probes.values() for place in several):
            addresses.host_and_port(each)


class Bus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log. `partitions`: of events and state alike; fixed once the topics exist. `kafka`: the cluster, if not the embedded log."""

    partitions: Annotated[int, msgspec.Meta(ge=1)] = 4
    kafka: engines.Kafka = engines.Kafka()


class Quotas(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one account may use at the same time, and what it may keep.

    `admitted`: number of workflows. `cpu`, `memory`: Kubernetes quantities; None for unlimited. `accelerators`: number of
    devices by hardware type (such as `nvidia.com/gpu-t4`); a type that is not listed is unlimited.

    Of what it keeps, None for unlimited: `entities`: their number; `document_bytes`: their size as JSON; `object_bytes`: what the object
    store holds of them; `tokens`: tokens that were not revoked. Deleted entities count until they are removed (`retention.deleted_days`).
    """

    admitted: Annotated[int, msgspec.Meta(ge=0)] = 8
    cpu: str | None = None
    memory: str | None = None
    accelerators: dict[str, Annotated[int, msgspec.Meta(ge=0)]] = {}
    entities: Annotated[int, msgspec.Meta(ge=0)] | None = 100_000
    document_bytes: Annotated[int, msgspec.Meta(ge=0)] | None = 4 * 2**30
    object_bytes: Annotated[int, msgspec.Meta(ge=0)] | None = 2**40
    tokens: Annotated[int, msgspec.Meta(ge=0)] | None = 1000


class Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the local cluster runs a container image.

    `command`: the program and its first arguments; the container's own `args` follow. `{port}` and `{mount:NAME}` are
    replaced. `env`: added to the container's. `readiness_path`: None for no HTTP readiness probe. `paths`: files and folders of this
    machine that the program needs and `/usr` does not have; a sandboxed program reads them at the same paths. `network`: what the
    program may connect to: `none`, or `outside`, public addresses; on Kubernetes, too. `connect`: what it may connect to in addition,
    each as `host:port`, also on this machine and in internal networks.
    """

    command: tuple[str, ...]
    env: dict[str, str] = {}
    readiness_path: str | None = "/ready"
    paths: tuple[str, ...] = ()
    network: Literal["none", "outside"] = "none"
    connect: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a path that depends on the working directory of the server, and a place that is no `host:port`."""
        for place in self.connect:
            addresses.host_and_port(place)
        for path in (each for each in self.paths if not each.startswith("/")):
            raise ValueError(f"the path {path!r} is not absolute; {{here}} stands for the folder of the settings file")


class Pods(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pods of the local cluster.

    `max_job_pods`: how many Job pods run at the same time; None for twice the number of cores. `images`: how to run an image, by
    its name (`host/name`, or `name` for any host). `logs_max_bytes`: limit of one container's log. `orphan_grace_s`: after a
    server was killed, its pods keep running for this long and wait for a new server to adopt them; then they end. `template`:
    keep a process in memory that has imported our own steps, from which pods start in a fraction of the time.

    `isolation`: how programs of accounts are confined (docs/containment.md): `auto` for the best way that this machine has, `none` for
    not at all. `limits`: what such a program may use. `first_uid`, `uids`: if the server is root, each pod runs as a user of its own:
    with one of `uids` numbers from `first_uid` on, which no user of the machine has.
    """

    max_job_pods: Annotated[int, msgspec.Meta(ge=1)] | None = None
    images: dict[str, Image] = {}
    logs_max_bytes: Annotated[int, msgspec.Meta(ge=0)] = 64 * 2**20
    orphan_grace_s: Annotated[float, msgspec.Meta(ge=0)] = 600.0
    template: bool = True
    secrets_dir: str | None = None
    isolation: Literal["auto", "bubblewrap", "landlock", "none"] = "auto"
    first_uid: Annotated[int, msgspec.Meta(ge=1000, le=4_000_000_000)] = 1_900_000_000
    uids: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10_000
    limits: pod_limits.PodLimits = pod_limits.PodLimits()

    @property
    def user_numbers(self) -> range:
        """The numbers of the users of pods."""
        return range(self.first_uid, self.first_uid + self.uids)


class Orchestrator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The orchestrator.

    `finished_retention_s`: how long the custom resource of an ended workflow is kept, with its Jobs, Pods and their logs.
    `resync_s`: interval at which everything is reconciled even if no change was seen.
    """

    finished_retention_s: Annotated[float, msgspec.Meta(ge=0)] = 3600.0
    resync_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long deleted entities are kept.

    `deleted_days`: the entity and its stored data are kept for this many days after its deletion, and as long as a workflow that
    has not ended uses it; None to keep them indefinitely. `sweep_s`: interval between checks for expired ones.
    """

    deleted_days: Annotated[float, msgspec.Meta(ge=0, le=36500)] | None = 30.0
    sweep_s: Annotated[float, msgspec.Meta(gt=0)] = 600.0


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The operator.

    `steps_image`: the image of our own steps. `analysis_image`: the environment of methods that name none.
    `runner_port`: the port on which a runner listens in its container.
    `session_start_deadline_s`: time within which a session must become ready. `job_deadline_s`: limit of a step other than the
    evaluation client (which has its own `totalTimeoutSeconds`). `resync_s`: interval at which everything is reconciled.
    `refusal_patience_s`: how long a part that a policy of the cluster refuses is tried again before the run fails.
    `image_pull_patience_s`: how long a registry that denies access is tried again before the run fails.
    `fetch_env`: variables for the step that fetches models and for no other, such as `HF_ENDPOINT`. They are part of the manifests
    of Jobs, so secrets are refused here: name a file (`HF_TOKEN_PATH`), or name a Kubernetes Secret with `fetch_secret`, whose
    keys become variables, too. `fetch_allowed_hosts`: names and addresses of an internal network that models may be fetched from; all
    other internal hosts are refused, at every redirect. `storage_secret`: a Secret with the credentials of the object store, whose
    keys become variables of all our own steps and of no user's container. `programs`: the pods that run accounts' programs.
    `exchange_item_bytes`: how much of a request to a service and its answer together is kept next to the outputs of an evaluation.
    `exchange_run_bytes`: how much is kept of an evaluation, as stored files; 0 keeps nothing.
    """

    steps_image: str = images.STEPS
    analysis_image: Annotated[str, msgspec.Meta(min_length=1)] = analysis_settings.DEFAULT_IMAGE
    runner_port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 8000
    session_start_deadline_s: Annotated[float, msgspec.Meta(gt=0)] = 900.0
    job_deadline_s: Annotated[float, msgspec.Meta(gt=0)] = 3600.0
    resync_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    refusal_patience_s: Annotated[float, msgspec.Meta(ge=0)] = 120.0
    image_pull_patience_s: Annotated[float, msgspec.Meta(ge=0)] = 300.0
    fetch_env: dict[str, str] = {}
    fetch_secret: str | None = None
    fetch_allowed_hosts: tuple[str, ...] = ()
    storage_secret: str | None = None
    programs: programs.Programs = programs.Programs()
    exchange_item_bytes: Annotated[int, msgspec.Meta(ge=0)] = 2**20
    exchange_run_bytes: Annotated[int, msgspec.Meta(ge=0)] = 2**30

    def __post_init__(self) -> None:
        """Refuse a secret where everyone with read access to the cluster would see it."""
        for name in self.fetch_env:
            if settings_printing.SECRET.search(name.upper()):
                raise ValueError(f"{name} is a secret, and would be in manifests; name a file by HF_TOKEN_PATH, or use fetch_secret")


class Migrations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which stores a server migrates when it starts.

    `at_start`: `embedded`: a server applies what is due in its data directory, and refuses to start if something is due on an
    engine; `everywhere`: it also applies the `pre` steps on engines.
    """

    at_start: Literal["embedded", "everywhere"] = "embedded"


class Disk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The disk of the data directory.

    `reserve_bytes`: kept free for deletions, for the end of runs and for a start on a full disk; at most 1/16 of the file system.
    """

    reserve_bytes: Annotated[int, msgspec.Meta(ge=0)] = 64 * 2**20


class Supervision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How roles are kept running.

    `shutdown_grace_s`: time for all stages of the shutdown together; whatever still runs then is cancelled. A role that fails
    `max_failures` times within `window_s` through its own fault, not because a backend does not answer, ends the process. `stuck_s`:
    a role that has work to do and makes no progress for this long is restarted, which counts as a failure; after half of that time
    `/ready` reports it. None for never.
    """

    shutdown_grace_s: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    max_failures: Annotated[int, msgspec.Meta(ge=1)] = 5
    window_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    stuck_s: Annotated[float, msgspec.Meta(ge=1)] | None = 120.0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings. `data_dir`: the directory of everything embedded; only one server at a time may use it."""

    data_dir: Annotated[str, msgspec.Meta(min_length=1)] = "dyff-data"
    log_level: str = "info"
    logs: log_settings.Logs = log_settings.Logs()
    audit: log_settings.Audit = log_settings.Audit()
    api: Api = Api()
    bus: Bus = Bus()
    query: engines.Query = engines.Query()
    accounts: engines.Accounts = engines.Accounts()
    objects: engines.Objects = engines.Objects()
    cluster: engines.Cluster = engines.Cluster()
    probes: Probes = Probes()
    console: Console = Console()
    quotas: Quotas = Quotas()
    pods: Pods = Pods()
    orchestrator: Orchestrator = Orchestrator()
    retention: Retention = Retention()
    operator: Operator = Operator()
    analyses: analysis_settings.Analyses = analysis_settings.Analyses()
    migrations: Migrations = Migrations()
    disk: Disk = Disk()
    supervision: Supervision = Supervision()
    telemetry: telemetry_settings.Telemetry = telemetry_settings.Telemetry()


def load(file: str | None = None, environment: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """The effective settings. `flags`: dotted path to value; None if the flag was not given.

    Raises:
        Misconfigured: an unknown name or a value of the wrong type; the message names each, and what was probably meant.
    """
    return load_with_origins(file, environment, flags)[0]


def load_with_origins(
    file: str | None = None, environment: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> tuple[Settings, Mapping[str, str]]:
    """The effective settings, and where those come from that are not defaults: dotted path to a text such as `variable DYFF_API__PORT`.

    Raises:
        Misconfigured: as `load`.
    """
    environment = os.environ if environment is None else environment
    found = settings_sources.gather(Settings, file, environment, flags or {})
    settings_sources.require_text(found)
    try:
        return msgspec.convert(found.tree, Settings, strict=False), found.origins
    except msgspec.ValidationError as error:
        raise settings_sources.misconfigured(Settings, found, error) from error
