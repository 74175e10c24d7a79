"""Our own programs: their names, the meaning of their exit codes and their retries. Pure.

The exit codes are documented in `dyff.workflows.endings`. A step's last line says what failed and what to do; this table
decides the reason, and whether a retry can help.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dyff.operator import reasons
from dyff.operator.manifests import containers


class Ending(msgspec.Struct, frozen=True):
    """Meaning of an exit code. `reason`: None for the step's usual one. `final`: a retry would only fail in the same way."""

    meaning: str
    reason: str | None = None
    final: bool = True


class Part(msgspec.Struct, frozen=True):
    """A container of a step that has several, which run one after the other.

    `name`: of the container. `doing`: what it does, for messages. `reason`: of its failures, unless there is a more specific one by exit
    code in `endings`, or by Kubernetes' reason, such as OOMKilled, in `kills`. `advice`: what to do, by Kubernetes' reason; where there
    is none, the general advice is given.
    """

    name: str
    doing: str
    reason: str
    endings: Mapping[int, Ending] = {}
    kills: Mapping[str, str] = {}
    advice: Mapping[str, str] = {}


class Step(msgspec.Struct, frozen=True):
    """A step of a workflow.

    `component`: part of its Job's name, and a label of its pods. `program`: in the steps image. `title`: for messages.
    `reason`: of its failures, unless the exit code has a more specific one. `endings`: by exit code. `when_late`: what to
    do if it takes too long. `retries`: after failures that are not final. `parts`: its containers in their order, the one that runs
    `program` last; empty if that is the only one.
    """

    component: str
    program: str
    title: str
    reason: str
    endings: Mapping[int, Ending]
    when_late: str
    retries: int
    parts: tuple[Part, ...] = ()

    @property
    def final_codes(self) -> dict[str, tuple[int, ...]]:
        """By the name of a container, the exit codes that are not worth a retry."""
        every = self.parts or (self.part(containers.STEP),)
        return {each.name: tuple(code for code, ending in each.endings.items() if ending.final) for each in every}

    def part(self, container: str) -> Part:
        """The part that runs as that container. Where a pod reports no container, its last one counts."""
        alone = Part(container, "", self.reason, self.endings)
        return next((each for each in self.parts if each.name == container), alone)


COMMON = {
    64: Ending("its command line is wrong, please report it"),
    65: Ending("the data is wrong"),
    70: Ending("it has a defect, please report it", final=False),
    75: Ending("a service that it needs does not answer, create it again later", final=False),
    78: Ending("its manifest or environment is wrong", reasons.SCHEMA_ERROR),
    143: Ending("it was stopped", final=False),
}
"""Meaning of the exit codes that all our programs share."""

FETCH_DATA_FINAL = frozenset(code for code, ending in COMMON.items() if ending.final)
"""Exit codes that are not worth a retry, of the program that fills a session's volumes."""

_CLIENT = {
    10: Ending("earlier outputs cannot be read or are there twice, or none of the service's answers fits the interface"),
    # Final although a retry would resume: the time and the retries that the user allowed are used up.
    20: Ending("some items have no output, allow more with client.totalTimeoutSeconds or client.missingOutputPolicy", reasons.INCOMPLETE),
    69: Ending("the service never became ready or failed too often, fix it or raise client.transientErrorRetryLimit"),
    76: Ending("the service refused an item or the endpoint, fix the interface or set client.badRequestPolicy to Skip"),
}


def _verification(code: int) -> Ending:
    """The verifier's exit code is a sum: 1 wrong output, 2 missing, 4 duplicates."""
    found = [text for bit, text in ((1, "outputs are wrong"), (2, "outputs are missing"), (4, "outputs are there twice")) if code & bit]
    reason = reasons.INCOMPLETE if code & 3 == 2 else None
    # Python also exits with 1 if it cannot start a program at all, which can be transient.
    return Ending(f"{' and '.join(found)}, create the evaluation again", reason, final=code != 1)


CLIENT = Step(
    component="client",
    program="evaluation-client",
    title="the evaluation client",
    reason=reasons.INFERENCE_FAILED,
    endings={**COMMON, **_CLIENT},
    when_late="raise client.totalTimeoutSeconds, the replicas or workersPerReplica",
    retries=3,
)

VERIFY = Step(
    component="verify",
    program="verify-evaluation-output",
    title="the verification",
    reason=reasons.VERIFICATION_FAILED,
    endings={**COMMON, **{code: _verification(code) for code in range(1, 8)}},
    when_late="raise the setting operator.job_deadline_s",
    retries=2,
)

SALVAGE = msgspec.structs.replace(
    VERIFY, component="salvage", program="publish-incomplete-output", title="the publication of incomplete outputs"
)
"""Runs after the client or the verification has failed."""

FETCH = Step(
    component="fetch",
    program="fetch-model",
    title="the fetch",
    reason=reasons.FETCH_FAILED,
    endings=COMMON,
    when_late="raise the setting operator.job_deadline_s",
    retries=2,
)

_EVICTED = {"Evicted": reasons.LIMIT_EXCEEDED}
_STORED = {
    10: Ending("the method failed; the log of the run says where", reasons.RUN_FAILED),
    11: Ending("what the method wrote does not fit what it declares", reasons.OUTPUT_INVALID),
    12: Ending("the method needed too much memory; let it use less, or raise the setting analyses.memory", reasons.OUT_OF_MEMORY),
    13: Ending("the method took too long; let it do less, or raise the setting analyses.timeout_s", reasons.DEADLINE_EXCEEDED),
}
"""Of the program that stores what a method wrote, and so knows how the method ended."""

ANALYZE = Step(
    component="run",
    program="store-analysis",
    title="the analysis",
    reason=reasons.RUN_FAILED,
    endings={**COMMON, **_STORED},
    when_late="raise the setting analyses.timeout_s, or operator.job_deadline_s if it waited, fetched or stored for that long",
    retries=1,
    parts=(
        Part("fetch", "fetching its inputs", reasons.FETCH_FAILED, COMMON, _EVICTED),
        Part(
            "run",
            "running the method",
            reasons.RUN_FAILED,
            {12: _STORED[12]},  # its runner saw that the kernel ended a process; any other code means nothing
            kills={"OOMKilled": reasons.OUT_OF_MEMORY, **_EVICTED},
            advice={
                "OOMKilled": "let the method use less memory, or raise the setting analyses.memory",
                "Evicted": "let the method write less and start less, or raise the limit",
            },
        ),
        Part(containers.STEP, "storing its results", reasons.STORE_FAILED, {**COMMON, **_STORED}, _EVICTED),
    ),
)
"""Fetches the inputs of an analysis, runs the method's code, and stores what it wrote. An end of `run` itself, rather than of the code that
it runs, can be accidental, so it is tried once more.
"""

STEPS = (CLIENT, VERIFY, SALVAGE, FETCH, ANALYZE)
"""All of them."""
