"""What a method declares of its scores and curves."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from dyff.entities import codecs, identity, score_formats
from dyff.entities.concerns import Summary, Title

Identifier = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$(?!\n)",
        max_length=127,
        description="a Python identifier: at most 127 letters, digits and '_', the first of which is no digit",
    ),
]

FORMAT = "{quantity:.1f}"
Format = Annotated[str, msgspec.Meta(max_length=score_formats.MAX_CHARS)]
Valence = Literal["positive", "negative", "neutral"]
Priority = Literal["primary", "secondary"]


OF_SCORES = ("valence", "priority", "minimum", "maximum", "format", "unit")
"""Fields that a curve does not have."""


class ScoreSpec(identity.Part, frozen=True):
    """A score. `valence`: whether more is better. `minimum`, `maximum`: of its quantity; None if not known.

    `format`: a Python format string with `{quantity}`, and `{unit}` if need be.
    """

    name: Identifier
    title: Title
    summary: Summary
    valence: Valence = "neutral"
    priority: Priority = "primary"
    minimum: float | None = None
    maximum: float | None = None
    format: Format = FORMAT
    unit: identity.Short | None = None

    def __post_init__(self) -> None:
        """Refuse what no quantity could satisfy."""
        _check(self.format, self.minimum, self.maximum)


class ScoreOrCurveSpec(identity.Part, frozen=True):
    """A score or, if it has `dimensions`, a curve. A curve has only name, title, summary and dimensions.

    `priority`: exactly one score of a method is `primary`, which is the default, so all others must say `secondary`.
    `dimensions`: by the name of each column of the curve's points, what it means.
    """

    rules: ClassVar[codecs.Json] = {
        "if": {"required": ["dimensions"]},
        "then": {"not": {"anyOf": [{"required": [name]} for name in OF_SCORES]}},
    }

    name: Identifier
    title: Title
    summary: Summary
    valence: Valence | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    minimum: float | UnsetType | None = UNSET
    maximum: float | UnsetType | None = UNSET
    format: Format | UnsetType = UNSET
    unit: identity.Short | UnsetType | None = UNSET
    dimensions: Annotated[dict[identity.Short, ScoreSpec], msgspec.Meta(max_length=32)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Refuse a curve that is a score as well, and what no quantity could satisfy."""
        if self.dimensions is UNSET:
            text = FORMAT if self.format is UNSET else self.format
            _check(text, self.minimum, self.maximum)
            return
        mixed = [name for name in OF_SCORES if getattr(self, name) is not UNSET]
        if mixed:
            raise ValueError(f"{mixed[0]} belongs to scores; with dimensions this is a curve, so leave out one of them")

    @property
    def is_curve(self) -> bool:
        """Whether it is a curve."""
        return self.dimensions is not UNSET

    @property
    def is_primary(self) -> bool:
        """Whether it is a score that says, or implies, that it is the primary one."""
        return not self.is_curve and self.priority in (UNSET, "primary")

    def filled(self) -> codecs.Json:
        """As it is stored: the published defaults of a score filled in, no null fields."""
        given = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not UNSET}
        if self.dimensions is not UNSET:
            return {**given, "dimensions": {name: identity.filled(each) for name, each in self.dimensions.items()}}
        return identity.filled(ScoreSpec(**given))


def _check(text: str, minimum: float | UnsetType | None, maximum: float | UnsetType | None) -> None:
    if problem := score_formats.problem(text):
        raise ValueError(f"format {problem}")
    bounds = [each for each in (minimum, maximum) if isinstance(each, float)]
    if any(not math.isfinite(each) for each in bounds):
        raise ValueError("minimum and maximum must be finite; leave out one that is not known")
    if len(bounds) == 2 and bounds[0] > bounds[1]:
        raise ValueError(f"minimum is {bounds[0]}, which is more than maximum, {bounds[1]}")


def check_all(scores: tuple[ScoreOrCurveSpec, ...]) -> None:
    """Check the scores and curves of one method together.

    Raises:
        ValueError: a name is there twice, or not exactly one score is primary.
    """
    names = [each.name for each in scores]
    for n, name in enumerate(names):
        if name in names[:n]:
            raise ValueError(f"scores[{n}].name: {name!r} is there twice; each score and curve needs a name of its own")
    only = [each for each in scores if not each.is_curve]
    primary = [each.name for each in only if each.is_primary]
    if only and len(primary) != 1:
        found = f"these are: {', '.join(primary)}" if primary else "none is"
        raise ValueError(
            f"scores: exactly one score must have the priority 'primary', which is the default; {found}. Set 'secondary' for all others"
        )
