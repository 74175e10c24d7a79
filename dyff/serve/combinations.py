"""Combinations of settings that a server could start with, and then never run a workflow, or silently lose something.

Each rule is a function and a row of `TABLE`. A server applies all when it starts: some refuse the start, others are logged as warnings.
`dyff config --check` reports the same. A rule sees the settings, the roles of the process, and, if asked, files of this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import structlog

from dyff.kernel import errors, settings
from dyff.serve import combinations_addresses as addresses
from dyff.serve import combinations_engines as engines
from dyff.serve import combinations_pods as pods
from dyff.serve import roles
from dyff.serve.judging import Case, Finding

log = structlog.get_logger()

Rule = Callable[[Case], Iterable[Finding]]

TABLE: tuple[Rule, ...] = (
    engines.split_roles,
    engines.engine_without_address,
    engines.kafka_credentials,
    engines.shared_database,
    engines.embedded_in_a_pod,
    engines.clients,
    engines.files,
    pods.storage_of_kubernetes,
    pods.storage_credentials,
    pods.local_secrets,
    pods.steps_image,
    pods.environments,
    pods.secrets_on_kubernetes,
    pods.callers,
    pods.fetching,
    pods.quotas,
    addresses.steps_endpoint,
    addresses.public_url,
    addresses.signed_urls,
    addresses.proxies,
    addresses.level,
)
"""All rules, in the order of the report."""


def examine(loaded: settings.Settings, rows: Sequence[roles.Row], *, here: bool = True) -> list[Finding]:
    """What is wrong with these settings for a process with these roles; those that are refused come first.

    `here`: the process runs on this machine, so files that the settings name must exist on it, and its environment counts.
    """
    case = Case(loaded, tuple(rows), here)
    found = [finding for rule in TABLE for finding in rule(case)]
    return sorted(found, key=lambda each: not each.refused)


def require(found: Iterable[Finding], warn: Callable[[Finding], object] | None = None) -> None:
    """Report the warnings, and refuse the rest. `warn`: None to write warnings to the log.

    Raises:
        Misconfigured: the settings cannot work; the message has every reason.
    """
    refused: list[str] = []
    for each in found:
        if each.refused:
            refused.append(each.text())
        elif warn is not None:
            warn(each)
        else:
            log.warning("settings", settings=each.settings, problem=each.problem, fix=each.fix)
    if refused:
        raise errors.Misconfigured(f"settings: {'; '.join(refused)}")
