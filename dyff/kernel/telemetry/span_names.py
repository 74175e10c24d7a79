"""The names of spans, of their attributes, and of the log fields that belong to a trace; docs/tracing.md explains each."""

from __future__ import annotations

PUBLISH = "publish {command}"
FOLD = "fold {command}"
FOLD_BATCH = "write states"
VIEW = "write view"
VIEW_BATCH = "write documents"
LIFE = "{kind}"
ADMISSION = "admission"
STATUS = "status {status}"
RESOURCE = "create resource"
RECONCILE = "reconcile {kind}"
STEP = "step {component}"
POD = "pod {component}"
SCHEDULE = "schedule"
START = "start"
RUN = "run {container}"
READY = "become ready"
"""Names of spans; the name of a request's span is its method and its route. Braces stand for one of a small, fixed set of words, but for
containers, whose names are those of the pod.
"""

SPANS = (
    PUBLISH, FOLD, FOLD_BATCH, VIEW, VIEW_BATCH, LIFE, ADMISSION, STATUS, RESOURCE, RECONCILE, STEP, POD, SCHEDULE, START, RUN,
    READY,
)  # fmt: skip

ROLE = "dyff.role"
ENTITY = "dyff.entity.id"
KIND = "dyff.entity.kind"
ACCOUNT = "dyff.account"
COMMAND = "dyff.command"
OUTCOME = "dyff.outcome"
TOPIC = "dyff.topic"
PARTITION = "dyff.partition"
OFFSET = "dyff.offset"
WAITED_MS = "dyff.log.waited_ms"
SIZE = "dyff.batch.size"
STATUS_NEW = "dyff.status"
REASON = "dyff.reason"
REASONS = "dyff.waiting.reasons"
WAITING_EVENT = "waiting"
RESOURCE_NAME = "dyff.resource"
ACTIONS = "dyff.actions"
POD_NAME = "k8s.pod.name"
NODE = "k8s.node.name"
IMAGE = "container.image.name"
EXIT_CODE = "dyff.exit_code"
END = "dyff.end"
METHOD = "http.request.method"
ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"
ERROR = "error.type"
"""Names of attributes, and of the one event. Those of HTTP, Kubernetes and errors are OpenTelemetry's semantic conventions."""

ATTRIBUTES = (
    ROLE, ENTITY, KIND, ACCOUNT, COMMAND, OUTCOME, TOPIC, PARTITION, OFFSET, WAITED_MS, SIZE, STATUS_NEW, REASON, REASONS, RESOURCE_NAME,
    ACTIONS, POD_NAME, NODE, IMAGE, EXIT_CODE, END, METHOD, ROUTE, HTTP_STATUS, ERROR,
)  # fmt: skip

LOG_TRACE = "trace_id"
LOG_ENTITY = "entity_id"
LOG_ACCOUNT = "account"
LOG_CLIENT = "client"
"""Fields of a log line that concerns an entity or a request; the address of the client is in those of requests only."""

LOG_FIELDS = (LOG_TRACE, LOG_ENTITY, LOG_ACCOUNT, LOG_CLIENT)

RESPONSE_HEADER = "dyff-trace"
"""The header of each answer that has the trace ID, so that a user can report it."""

ANNOTATION = "dyff.io/traceparent"
STATE_ANNOTATION = "dyff.io/tracestate"
"""Annotations of custom resources and of all that is made for them."""

VARIABLE = "TRACEPARENT"
STATE_VARIABLE = "TRACESTATE"
"""Variables of our own steps."""
