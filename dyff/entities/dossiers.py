"""What the page of a safety case shows, as data: the claim, the scores, what they rest on, and what is not shown."""

from __future__ import annotations

from typing import Annotated

import msgspec

from dyff.entities import comparisons, described, stored, uncertainties

VERIFIED = "complete, unique and as declared"
"""What a verification of outputs has shown. It says nothing about whether an answer is right."""

RELATIONSHIPS = {
    "first_party": "The evaluators made or run the system.",
    "third_party": "The evaluators are independent of those who made or run the system.",
    "collaborative": "The evaluators worked together with those who made or run the system.",
    "other": "The relationship is another one, which the evaluators describe.",
}
"""The values of `Claim.relationship`, as sentences."""

Published = Annotated[str, described.says(enum=["public", "internal", "private"])]


class Claim(stored.Part, frozen=True):
    """What the account says the case shows. These are its words, which can be edited later. None: nothing was written.

    `scope`: for which uses, versions and languages it holds. `relationship`: see `RELATIONSHIPS`. `missing`: the fields without a text.
    """

    claim: str | None = None
    scope: str | None = None
    assumptions: str | None = None
    limits: str | None = None
    evaluators: str | None = None
    relationship: str | None = None
    missing: list[str] = msgspec.field(default_factory=list)


class ShownScore(stored.Part, frozen=True):
    """A score. `quantityString`: the quantity in its format. `minimum`, `maximum`: what is possible; None if not known.

    `valence`: `positive`: more is better, `negative`: less is better, `neutral`.
    """

    name: str
    title: str
    summary: str
    text: str
    quantity: float
    quantityString: str
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    valence: str = "neutral"
    priority: str = "primary"
    uncertainty: uncertainties.Uncertainty = uncertainties.Uncertainty()


class NotCompared(stored.Part, frozen=True):
    """Another system that the same method has measured, but whose rows cannot be joined. `why`: the end of a sentence."""

    name: str
    measurement: str
    why: str


class OtherSystems(stored.Part, frozen=True):
    """How this system compares with others that the same method has measured on the same dataset, as far as the reader may see them.

    `score`, `title`, `valence`, `unit`, `minimum`, `maximum`: of the score of the measurement that the case reads. `systems`: that of the
    case first. `pairs`: that of the case is `a`, so the difference is the other one minus it; p is corrected for all of them.
    `leftOut`: how many more there are. `atLeast`: whether there are too many measurements to look at all, so that systems can be missing.
    `problem`: why there is no comparison, as a sentence; None if there is one, or nothing to compare.
    """

    score: str | None = None
    title: str | None = None
    valence: str = "neutral"
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    systems: list[comparisons.ComparedSystem] = msgspec.field(default_factory=list)
    pairs: list[comparisons.ComparedPair] = msgspec.field(default_factory=list)
    notCompared: list[NotCompared] = msgspec.field(default_factory=list)
    leftOut: int = 0
    atLeast: bool = False
    problem: str | None = None


class Basis(stored.Part, frozen=True):
    """Something that the case rests on. `role`: what it is for the case, in words. `kind`, `id`: of the entity.

    `visible`: whether the reader may see the entity, or it is part of the case; if not, only kind, ID and digest are given. `digest`:
    `sha256:` and hexadecimal digits; None if nothing is recorded; `digestOf`: of what. `details`: what else is known, by words.
    """

    role: str
    kind: str
    id: str
    visible: bool = False
    name: str | None = None
    status: str | None = None
    created: str | None = None
    digest: str | None = None
    digestOf: str | None = None
    details: dict[str, str] = msgspec.field(default_factory=dict)


class Fixed(stored.Part, frozen=True):
    """Whether something could still change when the first output was made. Entities do not change once they are ready.

    `since`: when it was ready; None if it is not known any more. `before`: whether that was before the first output; None if not known.
    """

    role: str
    kind: str
    id: str
    since: str | None = None
    before: bool | None = None


class Endings(stored.Part, frozen=True):
    """How many of the runs ended how. Deleted runs stay in the log without their data, and are counted."""

    complete: int = 0
    failed: int = 0
    deleted: int = 0
    unfinished: int = 0


class Runs(stored.Part, frozen=True):
    """All runs of one sort in this log, of all accounts.

    `kind`: of the runs. `what`: what they have in common, in words. `shown`: how many of them this case rests on. `total`: how many
    there are, `atLeast` so many if not all could be counted. `outcomes`: of all. `unpublished`: how many are not public.
    `otherAccounts`: how many belong to other accounts than the case. `reproductions`: how many run an earlier one again, with the same
    data, method and arguments; they are among `total`. `first`: when the first one was created.
    """

    kind: str
    what: str
    shown: int
    total: int
    atLeast: bool = False
    outcomes: Endings = Endings()
    unpublished: int = 0
    otherAccounts: int = 0
    reproductions: int = 0
    first: str | None = None


class Reproduction(stored.Part, frozen=True):
    """A run that repeats this case on the same data. `id`, `account`, `status`, `created`: of it.

    `scores`: how many scores both have; `equal`: how many of them have exactly the same quantity. Both are 0 if it is not complete.
    """

    id: str
    account: str
    status: stored.EntityStatus
    created: str | None = None
    scores: int = 0
    equal: int = 0


class NotShown(stored.Part, frozen=True):
    """What the case itself does not show.

    `firstOutput`: the earliest time at which this system can have answered an item of this dataset in this log: when the first evaluation
    was created; None if the case rests on no evaluation. `fixed`: whether method and dataset were fixed before that. `cannotReveal`: what
    no log can show.
    """

    firstOutput: str | None = None
    fixed: list[Fixed] = msgspec.field(default_factory=list)
    runs: list[Runs] = msgspec.field(default_factory=list)
    cannotReveal: str = ""


class Dossier(stored.Part, frozen=True):
    """What the page of a safety case shows. `id`, `name`, `account`, `status`, `reason`, `message`: of the safety case.

    `published`: who can see it. `public` means everybody; `internal` and `private` mean those with a token that allows it. `created`,
    `ended`: ISO 8601; None: it has not ended. `title`, `summary`, `text`: its documentation; None: nothing was written. `system`, `test`:
    title and summary of the system and of the method. `page`: the path of the page; `notebook`: that of the author's document; None: there
    is none. `data`: the path of this as JSON; `provenance`, `eee`: those of the exports (docs/exports.md); `eee` is None if there are no
    scores. `arguments`: of the method. `reproduces`: the ID of the case that this one runs again; None if it does not.
    `reproductions`: runs that repeat this one, the oldest first. `otherSystems`: None if the case reads no measurement. `warnings`:
    sentences about what a reader would otherwise take for granted, such as a scope that does not agree with what was read.
    """

    id: str
    name: str
    account: str
    status: stored.EntityStatus
    published: Published
    reason: str | None = None
    message: str | None = None
    created: stored.Time | None = None
    ended: stored.Time | None = None
    title: str | None = None
    summary: str | None = None
    text: str | None = None
    system: dict[str, str] = msgspec.field(default_factory=dict)
    test: dict[str, str] = msgspec.field(default_factory=dict)
    claim: Claim = Claim()
    scores: list[ShownScore] = msgspec.field(default_factory=list)
    restsOn: list[Basis] = msgspec.field(default_factory=list)
    arguments: dict[str, str] = msgspec.field(default_factory=dict)
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    reproduces: str | None = None
    reproductions: list[Reproduction] = msgspec.field(default_factory=list)
    notShown: NotShown = NotShown()
    warnings: list[str] = msgspec.field(default_factory=list)
    otherSystems: OtherSystems | None = None
    page: str = ""
    notebook: str | None = None
    data: str = ""
    provenance: str = ""
    eee: str | None = None
    schemaVersion: str = msgspec.field(default="0.1")
