"""Rules about engines: which ports are embedded in this process, and how the others are reached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dyff.kernel import engines, extras
from dyff.kernel import settings as declared
from dyff.serve import engine_clients, opening, roles
from dyff.serve.judging import Case, Finding

_WORDS = {"bus": "log", "query": "query store", "accounts": "accounts database", "objects": "object store", "cluster": "cluster"}


def split_roles(case: Case) -> Iterator[Finding]:
    """An embedded adapter belongs to one process, which must have every role that uses it: others wait for what is never done."""
    lacking: dict[str, list[str]] = {}
    for port in sorted(opening.embedded(case.settings) & roles.ports(case.rows)):
        absent = [row.name for row in roles.TABLE if port in row.ports and not case.has(row.name)]
        if absent:
            lacking[port] = absent
    if lacking:
        wanted = [row.name for row in roles.TABLE if case.has(row.name) or any(row.name in absent for absent in lacking.values())]
        chosen = "all" if len(wanted) == len(roles.TABLE) else ",".join(wanted)
        missing = [name for name in wanted if not case.has(name)]
        yield Finding(
            settings=tuple(engine_clients.CHOICE[port] for port in lacking),
            problem=f"not set, so the {', '.join(_WORDS[port] for port in lacking)} can only be used by this process, which lacks "
            f"{', '.join(missing)}",
            fix=f"start one process with --role {chosen}, or set an engine for each",
        )


def engine_without_address(case: Case) -> Iterator[Finding]:
    """Settings of an engine without the one that chooses it: what people believe to be on the engine would be in the data directory."""
    chosen = case.settings
    groups: tuple[tuple[str, str | None, engines.Kafka | engines.MongoDB, engines.Kafka | engines.MongoDB], ...] = (
        ("bus.kafka", chosen.bus.kafka.bootstrap_servers, chosen.bus.kafka, engines.Kafka()),
        ("query.mongodb", chosen.query.mongodb.uri, chosen.query.mongodb, engines.QueryDatabase()),
        ("accounts.mongodb", chosen.accounts.mongodb.uri, chosen.accounts.mongodb, engines.AccountsDatabase()),
    )
    for group, address, given, default in groups:
        others = [name for name in given.__struct_fields__ if getattr(given, name) != getattr(default, name)]
        if address is None and others:
            yield _ignored(engine_clients.CHOICE[group.partition(".")[0]], [f"{group}.{name}" for name in others])
    if chosen.objects.url is None and chosen.objects.steps_endpoint is not None:
        yield _ignored("objects.url", ["objects.steps_endpoint"])
    kubernetes = chosen.cluster.kubernetes
    if not case.on_kubernetes and kubernetes.context is not None:
        yield _ignored(engine_clients.CHOICE["cluster"], ["cluster.kubernetes.context"])
    if not case.on_kubernetes and case.uses_cluster and kubernetes.namespace != engines.Kubernetes().namespace:
        yield _ignored(engine_clients.CHOICE["cluster"], ["cluster.kubernetes.namespace"], refused=False)


def _ignored(choice: str, others: list[str], *, refused: bool = True) -> Finding:
    return Finding(
        settings=(choice,),
        problem=f"not set, so {', '.join(others)} would do nothing, and the embedded adapter would be used",
        fix=f"set {choice}, or remove {'it' if len(others) == 1 else 'them'}",
        refused=refused,
    )


def kafka_credentials(case: Case) -> Iterator[Finding]:
    """A connection to brokers that is less protected than its settings look."""
    chosen = case.settings.bus.kafka
    if chosen.bootstrap_servers is None or "bus" not in roles.ports(case.rows):
        return
    if chosen.tls_ca_file is not None and not chosen.tls:
        yield Finding(
            settings=("bus.kafka.tls", "bus.kafka.tls_ca_file"),
            problem="a CA file is set, but TLS is off, so nothing would be encrypted",
            fix="set bus.kafka.tls to true, or remove the file",
        )
    given = {"bus.kafka.sasl_username": chosen.sasl_username, "bus.kafka.sasl_password_file": chosen.sasl_password_file}
    present, absent = [name for name, value in given.items() if value], [name for name, value in given.items() if not value]
    if chosen.sasl_mechanism is None and present:
        yield Finding(
            settings=("bus.kafka.sasl_mechanism",),
            problem=f"not set, so {', '.join(present)} would do nothing, and the connection would not be authenticated",
            fix="set it to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        )
    if chosen.sasl_mechanism is not None and absent:
        yield Finding(settings=tuple(absent), problem=f"not set, but {chosen.sasl_mechanism} needs it", fix="set it")
    if chosen.sasl_mechanism == "PLAIN" and not chosen.tls:
        yield Finding(
            settings=("bus.kafka.tls",),
            problem="off, so PLAIN sends the password in clear text",
            fix="set it to true, or use SCRAM-SHA-512",
            refused=False,
        )


def shared_database(case: Case) -> Iterator[Finding]:
    """The view and the accounts in one database: each is the only user of its own."""
    view, accounts = case.settings.query.mongodb, case.settings.accounts.mongodb
    if view.uri is not None and view.uri == accounts.uri and view.database == accounts.database:
        yield Finding(
            settings=("query.mongodb.database", "accounts.mongodb.database"),
            problem=f"both are {view.database!r} of the same servers, and a replay of the view removes what it does not know",
            fix="give each a database of its own",
        )


def embedded_in_a_pod(case: Case) -> Iterator[Finding]:
    """A data directory that disappears with the pod."""
    kept = sorted(opening.embedded(case.settings) & roles.ports(case.rows) - {"cluster"})
    if case.settings.cluster.kubernetes.in_cluster and kept:
        yield Finding(
            settings=("data_dir", *(engine_clients.CHOICE[port] for port in kept)),
            problem=f"this process runs in a pod, and the {', '.join(_WORDS[port] for port in kept)} would be lost with it",
            fix="put data_dir on a persistent volume, or set engines",
            refused=False,
        )


def clients(case: Case) -> Iterator[Finding]:
    """The clients of engines and collectors are extras. Elsewhere they can be installed; a store's address cannot be read without."""
    used = roles.ports(case.rows) - opening.embedded(case.settings)
    for chosen, what, fix in engine_clients.missing(used if case.here else used & {"objects"}, case.settings):
        yield Finding(settings=chosen, problem=what, fix=fix)
    if case.here and case.settings.telemetry.otlp_endpoint is not None and (lacking := extras.problem("otlp")) is not None:
        yield Finding(settings=("telemetry.otlp_endpoint",), problem=lacking, fix=f"install it: {extras.command('otlp')}")


def files(case: Case) -> Iterator[Finding]:
    """Files that settings name must be there, and readable."""
    if not case.here:
        return
    for name, file in _named(case.settings, roles.ports(case.rows)):
        try:
            with Path(file).open("rb"):
                pass
        except OSError as error:
            yield Finding(settings=(name,), problem=f"the file {file} cannot be read: {error.strerror}", fix="correct the path or its mode")


def _named(chosen: declared.Settings, ports: frozenset[str]) -> Iterator[tuple[str, str]]:
    groups: dict[str, tuple[str, object, tuple[str, ...]]] = {
        "bus": ("bus.kafka", chosen.bus.kafka, ("tls_ca_file", "sasl_password_file")),
        "query": ("query.mongodb", chosen.query.mongodb, ("password_file", "tls_ca_file", "tls_key_file")),
        "accounts": ("accounts.mongodb", chosen.accounts.mongodb, ("password_file", "tls_ca_file", "tls_key_file")),
        "cluster": ("cluster.kubernetes", chosen.cluster.kubernetes, ("kubeconfig",)),
    }
    for port in sorted(ports & groups.keys()):
        group, given, fields = groups[port]
        yield from ((f"{group}.{field}", value) for field in fields if (value := getattr(given, field)) is not None)
