"""Our own programs: what they are called, what their exit codes mean and how often they are tried. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dyff.operator import reasons


class Ending(msgspec.Struct, frozen=True):
    """What an exit code means. `message`: what happened and what to do. `final`: trying again would only repeat it."""

    reason: str
    message: str
    final: bool = True


class Step(msgspec.Struct, frozen=True):
    """A step of a workflow.

    `component`: names its Job and labels its pods. `program`: of the steps image. `title`: for messages. `endings`: by
    exit code. `otherwise`: the reason for any other failure. `when_late`: what to do if it takes too long. `retries`: after
    failures that are not final.
    """

    component: str
    program: str
    title: str
    endings: Mapping[int, Ending]
    otherwise: str
    when_late: str
    retries: int

    @property
    def final_codes(self) -> tuple[int, ...]:
        """Exit codes that are not worth a retry."""
        return tuple(code for code, ending in self.endings.items() if ending.final)


def _verification(code: int) -> Ending:
    """The verifier's exit code is a sum: 1 output error, 2 missing, 4 duplicates."""
    found = [
        text
        for bit, text in ((1, "the output could not be written"), (2, "outputs are missing"), (4, "outputs are there twice"))
        if code & bit
    ]
    advice = {
        True: "Create the evaluation again, or allow missing outputs with client.missingOutputPolicy Ignore",
        False: "Please report it: the evaluation client should have found it first",
    }[code & 2 != 0]
    reason = reasons.INCOMPLETE if code & 3 == 2 else reasons.VERIFICATION_FAILED
    # Exit code 1 is also that of any crash, which may be an accident.
    return Ending(reason, f"Verification found: {', '.join(found)}. {advice}", final=code != 1)


CLIENT = Step(
    component="client",
    program="evaluation-client",
    title="the evaluation client",
    endings={
        10: Ending(
            reasons.INFERENCE_FAILED,
            "The evaluation client could not store its outputs. The lines below say why; create the evaluation again when that is mended",
        ),
        20: Ending(
            reasons.INCOMPLETE,
            "Some items have no output. The lines below say why; mend the service or its interface, or allow more with "
            "client.transientErrorRetryLimit, totalTimeoutSeconds, badRequestPolicy Skip or missingOutputPolicy Ignore",
        ),
    },
    otherwise=reasons.INFERENCE_FAILED,
    when_late="raise client.totalTimeoutSeconds, the replicas or workersPerReplica",
    retries=3,
)

VERIFY = Step(
    component="verify",
    program="verify-evaluation-output",
    title="the verification",
    endings={code: _verification(code) for code in range(1, 8)},
    otherwise=reasons.VERIFICATION_FAILED,
    when_late="raise the setting operator.job_deadline_s",
    retries=2,
)

FETCH = Step(
    component="fetch",
    program="fetch-model",
    title="the fetch",
    endings={},
    otherwise=reasons.FETCH_FAILED,
    when_late="raise the setting operator.job_deadline_s",
    retries=2,
)
