"""The names of everything that a process reports about itself.

A metric has a row in `METRICS`; docs/metrics.md has the same rows, and a test compares them. The names follow the conventions of
Prometheus: base units, `_total` for what only grows. A label has a bounded number of values: routes are templates, errors are classes of
ours.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Type = Literal["counter", "gauge", "histogram"]
COUNTER: Type = "counter"
GAUGE: Type = "gauge"
HISTOGRAM: Type = "histogram"


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric.

    `labels`: their names, in the order in which values are given. `unit`: `seconds`, `bytes`, or what is counted. `meaning`: for people.
    `roles`: which roles expose it; `EVERY` for every process. `buckets`: the upper bounds of a histogram, without the infinite one.
    """

    name: str
    type: Type
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    roles: tuple[str, ...] = ("every process",)
    buckets: tuple[float, ...] = ()


FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Of what takes milliseconds, up to the longest wait that a setting allows by default."""

SLOW = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""Of what runs for seconds to hours."""

MAX_ACCOUNTS = 50
"""The most accounts that have a value of a label of their own. The others are `other`, together."""

MAX_TROUBLES = 50
"""The same of troubles: their names are few, but not a closed list."""

LIMITS = (
    "api.head_timeout_s", "api.max_body_bytes", "api.max_connections", "api.max_headers", "api.max_headers_bytes", "api.max_large_answers",
    "api.max_url_bytes", "api.stall_timeout_s", "disk.reserve_bytes", "entity_bytes", "json_values", "pipelined_requests",
    "quotas.document_bytes", "quotas.entities", "quotas.object_bytes", "quotas.tokens", "upload_bytes",
)  # fmt: skip
"""The values of the label `limit`: settings, and constants that docs/limits.md has under `dyff.api`."""

HTTP_REQUESTS = "dyff_http_requests_total"
HTTP_DURATION = "dyff_http_request_duration_seconds"
HTTP_CONNECTIONS = "dyff_http_connections"
REJECTIONS = "dyff_rejections_total"
PUBLISH_DURATION = "dyff_publish_duration_seconds"
LAG = "dyff_consumer_lag_records"
FOLDED = "dyff_fold_events_total"
FOLD_WRITE = "dyff_fold_write_duration_seconds"
SUNK = "dyff_sink_documents_total"
SINK_WRITE = "dyff_sink_write_duration_seconds"
RELAYED = "dyff_relay_changes_total"
CYCLE = "dyff_admission_cycle_duration_seconds"
PASS = "dyff_orchestrator_pass_duration_seconds"
WAITING = "dyff_waiting_entities"
ADMITTED = "dyff_admitted_entities"
ACTION_ERRORS = "dyff_orchestrator_action_errors_total"
CHANGES = "dyff_status_changes_total"
ITEMS = "dyff_evaluation_items_total"
ITEM_ERRORS = "dyff_evaluation_item_errors_total"
ITEMS_LEFT = "dyff_evaluation_items_remaining"
RECONCILE = "dyff_reconcile_duration_seconds"
RECONCILE_ERRORS = "dyff_reconcile_errors_total"
QUEUE = "dyff_reconcile_queue"
QUEUE_AGE = "dyff_reconcile_oldest_seconds"
PODS = "dyff_pods"
CONTAINER_RESTARTS = "dyff_container_restarts_total"
STEP_DURATION = "dyff_step_duration_seconds"
PHASE = "dyff_role_phase"
RESTARTS = "dyff_role_restarts_total"
SIGN_WAITING = "dyff_role_work_waiting"
SIGN_STALLED = "dyff_role_stalled_seconds"
TROUBLE = "dyff_trouble"
LOST_LINES = "dyff_lost_lines_total"
LOOP_DELAY = "dyff_event_loop_delay_seconds"
LOG_BYTES = "dyff_local_log_bytes"
DISK_FREE = "dyff_data_disk_free_bytes"
DISK_SIZE = "dyff_data_disk_size_bytes"
DISK_FULL = "dyff_data_disk_full"
BUILD = "dyff_build_info"
SCRAPE_DURATION = "dyff_scrape_duration_seconds"
SCRAPE_ERRORS = "dyff_scrape_errors_total"

_API = ("api",)
_ORCHESTRATOR = ("orchestrator",)
_OPERATOR = ("operator",)
_PUBLISHERS = ("api", "informer", "orchestrator", "accounts-relay")
_DATA = ("every process with a data directory",)

_OF_THE_API = (
    Metric(
        name=HTTP_REQUESTS, type=COUNTER, unit="requests", labels=("method", "route", "status"), roles=_API,
        meaning="Requests that were answered, by route template; what belongs to no route is 'other'.",
    ),
    Metric(
        name=HTTP_DURATION, type=HISTOGRAM, unit="seconds", labels=("method", "route"), roles=_API, buckets=FAST,
        meaning="Time from the head of a request to its answer, or to the beginning of an answer that is streamed.",
    ),
    Metric(name=HTTP_CONNECTIONS, type=GAUGE, unit="connections", roles=_API, meaning="Connections of clients that are open."),
    Metric(
        name=REJECTIONS, type=COUNTER, unit="requests", labels=("limit",), roles=_API,
        meaning="Requests and connections that were refused, by the limit that refused them (docs/limits.md).",
    ),
    Metric(
        name=PUBLISH_DURATION, type=HISTOGRAM, unit="seconds", labels=("role", "outcome"), roles=_PUBLISHERS, buckets=FAST,
        meaning="Time until commands are durable in the log. Outcomes: ok, failed (nothing was written), unknown.",
    ),
)  # fmt: skip

_OF_CONSUMERS = (
    Metric(
        name=LAG, type=GAUGE, unit="records", labels=("role", "topic", "partition"),
        roles=("aggregator", "sink", "orchestrator", "informer"),
        meaning="Records that the log has and the role has not processed. Absent for a partition that this process does not own.",
    ),
    Metric(
        name=FOLDED, type=COUNTER, unit="events", labels=("outcome",), roles=("aggregator",),
        meaning="Events that were folded and whose states are written, by outcome; only 'applied' changed an entity.",
    ),
    Metric(
        name=FOLD_WRITE, type=HISTOGRAM, unit="seconds", roles=("aggregator",), buckets=FAST,
        meaning="Time to write one transaction of states; their number is the number of transactions.",
    ),
    Metric(
        name=SUNK, type=COUNTER, unit="documents", labels=("result",), roles=("sink",),
        meaning="Documents that were given to the view: 'written', or 'known' if it had that version or a newer one.",
    ),
    Metric(
        name=SINK_WRITE, type=HISTOGRAM, unit="seconds", roles=("sink",), buckets=FAST, meaning="Time to write one batch into the view.",
    ),
    Metric(
        name=RELAYED, type=COUNTER, unit="changes", roles=("accounts-relay",),
        meaning="Changes of accounts that were copied into the log.",
    ),
)  # fmt: skip

_OF_CONTROLLERS = (
    Metric(
        name=CYCLE, type=HISTOGRAM, unit="seconds", roles=_ORCHESTRATOR, buckets=(0.0001, 0.0005, *FAST),
        meaning="Time of one admission cycle: snapshot and decision.",
    ),
    Metric(
        name=PASS, type=HISTOGRAM, unit="seconds", roles=_ORCHESTRATOR, buckets=FAST,
        meaning="Time of one pass of the orchestrator, with its admission cycle and its actions.",
    ),
    Metric(
        name=WAITING, type=GAUGE, unit="entities", labels=("reason",), roles=_ORCHESTRATOR,
        meaning="Entities that have not started, by reason, as of the last admission cycle.",
    ),
    Metric(
        name=ADMITTED, type=GAUGE, unit="entities", labels=("account",), roles=_ORCHESTRATOR,
        meaning="Entities that use quota, by account; at most 50 accounts, then 'other'.",
    ),
    Metric(
        name=ACTION_ERRORS, type=COUNTER, unit="actions", labels=("action", "error"), roles=_ORCHESTRATOR,
        meaning="Creations and deletions of custom resources that failed and are tried again.",
    ),
    Metric(
        name=CHANGES, type=COUNTER, unit="changes", labels=("role", "kind", "status", "reason"), roles=("orchestrator", "informer"),
        meaning="Changes of a status or of its reason that a controller has published; the reason is empty if there is none.",
    ),
    Metric(
        name=ITEMS, type=COUNTER, unit="items", roles=_ORCHESTRATOR,
        meaning="Items of evaluations that were done, read from their progress objects.",
    ),
    Metric(
        name=ITEM_ERRORS, type=COUNTER, unit="items", roles=_ORCHESTRATOR,
        meaning="Items of evaluations that were given up, read from their progress objects.",
    ),
    Metric(
        name=ITEMS_LEFT, type=GAUGE, unit="items", roles=_ORCHESTRATOR,
        meaning="Items that the running evaluations have still to do, as of the last look at their progress objects.",
    ),
    Metric(
        name=RECONCILE, type=HISTOGRAM, unit="seconds", labels=("kind",), roles=_OPERATOR, buckets=FAST,
        meaning="Time of one reconciliation of a custom resource, also of one that failed.",
    ),
    Metric(
        name=RECONCILE_ERRORS, type=COUNTER, unit="reconciliations", labels=("kind", "error"), roles=_OPERATOR,
        meaning="Reconciliations that failed and are repeated, and parts that the cluster refused (error 'Refused').",
    ),
    Metric(
        name=QUEUE, type=GAUGE, unit="resources", labels=("state",), roles=_OPERATOR,
        meaning="Custom resources in the operator's queue: waiting, active, delayed, failing.",
    ),
    Metric(
        name=QUEUE_AGE, type=GAUGE, unit="seconds", roles=_OPERATOR, meaning="How long the oldest waiting custom resource has waited.",
    ),
    Metric(
        name=PODS, type=GAUGE, unit="pods", labels=("component", "state"), roles=_OPERATOR,
        meaning="Pods of workflows that the cluster has, by component and phase; 'Terminating' if one is being deleted.",
    ),
    Metric(
        name=CONTAINER_RESTARTS, type=COUNTER, unit="restarts", labels=("component", "reason"), roles=_OPERATOR,
        meaning="Containers that were started again in their pod, by the reason of their last end.",
    ),
    Metric(
        name=STEP_DURATION, type=HISTOGRAM, unit="seconds", labels=("component", "result"), roles=_OPERATOR, buckets=SLOW,
        meaning="Time from the start to the end of a pod of a step, by result: succeeded or failed.",
    ),
)  # fmt: skip

_OF_PROCESSES = (
    Metric(
        name=PHASE, type=GAUGE, unit="1 or 0", labels=("role", "phase"),
        meaning="1 for the phase that a role is in: starting, ready, standby, stuck, restarting or stopped.",
    ),
    Metric(
        name=RESTARTS, type=COUNTER, unit="restarts", labels=("role", "cause"),
        meaning="Failures of a role after which it was started again. Causes: stuck, outage (of something that it needs), fault.",
    ),
    Metric(
        name=SIGN_WAITING, type=GAUGE, unit="1 or 0", labels=("role", "sign"),
        meaning="1 if there is work for this part of a role. Absent while the role does not run or stands by.",
    ),
    Metric(
        name=SIGN_STALLED, type=GAUGE, unit="seconds", labels=("role", "sign"),
        meaning="How long a part with work to do has made no progress, as the watchdog counts it (supervision.stuck_s).",
    ),
    Metric(
        name=TROUBLE, type=GAUGE, unit="1", labels=("trouble",),
        meaning="1 for each thing that does not work while everything else does; /ready has the reason.",
    ),
    Metric(
        name=LOST_LINES, type=COUNTER, unit="lines or spans", labels=("output",),
        meaning="Lines of the log ('log') and of the audit log ('audit') that were not written, and spans ('traces') that were not sent.",
    ),
    Metric(
        name=LOOP_DELAY, type=HISTOGRAM, unit="seconds", buckets=FAST,
        meaning="How late a timer of the event loop was, looked at once a second. A pause of the whole process shows here, too.",
    ),
    Metric(
        name=LOG_BYTES, type=GAUGE, unit="bytes", roles=("every process with the embedded log",),
        meaning="Size of the files of the embedded log.",
    ),
    Metric(
        name=DISK_FREE, type=GAUGE, unit="bytes", roles=_DATA, meaning="Space on the disk of the data directory that is free for Dyff.",
    ),
    Metric(name=DISK_SIZE, type=GAUGE, unit="bytes", roles=_DATA, meaning="Size of the disk of the data directory."),
    Metric(
        name=DISK_FULL, type=GAUGE, unit="1 or 0", roles=_DATA,
        meaning="1 while the disk is full, so that what adds data is refused.",
    ),
    Metric(name=BUILD, type=GAUGE, unit="1", labels=("version",), meaning="Always 1; the release is in the label."),
    Metric(name=SCRAPE_DURATION, type=GAUGE, unit="seconds", meaning="How long the last scrape of this process took; 0 at the first."),
    Metric(
        name=SCRAPE_ERRORS, type=COUNTER, unit="reads", labels=("reader",),
        meaning="Readers that failed or were late at a scrape, so that their metrics were missing in it.",
    ),
)  # fmt: skip

_OF_PROMETHEUS_CLIENT = (
    Metric(name="process_virtual_memory_bytes", type=GAUGE, unit="bytes", meaning="Virtual memory size in bytes."),
    Metric(name="process_resident_memory_bytes", type=GAUGE, unit="bytes", meaning="Resident memory size in bytes."),
    Metric(
        name="process_start_time_seconds", type=GAUGE, unit="seconds", meaning="Start time of the process since unix epoch in seconds."
    ),
    Metric(name="process_cpu_seconds_total", type=COUNTER, unit="seconds", meaning="Total user and system CPU time spent in seconds."),
    Metric(name="process_open_fds", type=GAUGE, unit="descriptors", meaning="Number of open file descriptors."),
    Metric(name="process_max_fds", type=GAUGE, unit="descriptors", meaning="Maximum number of open file descriptors."),
    Metric(
        name="python_info", type=GAUGE, unit="1", labels=("version", "implementation", "major", "minor", "patchlevel"),
        meaning="Python platform information",
    ),
    Metric(
        name="python_gc_objects_collected_total", type=COUNTER, unit="objects", labels=("generation",),
        meaning="Objects collected during gc",
    ),
    Metric(
        name="python_gc_objects_uncollectable_total", type=COUNTER, unit="objects", labels=("generation",),
        meaning="Uncollectable objects found during GC",
    ),
    Metric(
        name="python_gc_collections_total", type=COUNTER, unit="collections", labels=("generation",),
        meaning="Number of times this generation was collected",
    ),
)  # fmt: skip

METRICS = (*_OF_THE_API, *_OF_CONSUMERS, *_OF_CONTROLLERS, *_OF_PROCESSES, *_OF_PROMETHEUS_CLIENT)
BY_NAME = {metric.name: metric for metric in METRICS}

# -- traces: names of spans, attributes and log fields ------------------------------------------------------------------------------------
