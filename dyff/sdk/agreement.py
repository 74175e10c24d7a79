"""How far a reproduction agrees with its original, in numbers. Pure.

What decides is in `Reproduced.agrees`; everything else is there to be looked at (docs/exports.md, "Reproduce").
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from dyff.entities import codecs

MOST_LISTED = 100
"""Names of files and indices of items that are listed. All of them are counted."""


class ScoreAgreement(msgspec.Struct, frozen=True):
    """A score of both. `difference`: the second minus the first. `equal`: exactly. `within`: within the tolerance."""

    name: str
    original: float
    reproduction: float
    difference: float
    equal: bool
    within: bool


class FilesAgreement(msgspec.Struct, frozen=True):
    """The outputs of both.

    `original`, `reproduction`: the SHA-256 of the list of all output files with their digests, as their runs recorded it. `equal`: None
    if one is not recorded. `compared`: how many files either has; None if the token may not fetch the lists. `differing`: the paths of
    files that differ, or that only one has, at most 100.
    """

    original: str | None
    reproduction: str | None
    equal: bool | None
    compared: int | None = None
    differing: list[str] = []


class ItemsAgreement(msgspec.Struct, frozen=True):
    """Answers to the same items, asked again.

    `evaluation`, `dataset`: the original ones; `reproduction`: the new evaluation. `compared`: items with answers in both. `equal`: how
    many of them have the same answer as in one of the replications of the original. `differing`: their indices, at most 100.
    `unanswered`: items that were asked and have no answer in one of the two. `sampling`: what all requests have. `expected`: `equal` if
    the answers must not differ (temperature 0), otherwise `may differ`. `meaning`: what this says about agreement, as a sentence.
    """

    evaluation: str
    dataset: str
    reproduction: str
    compared: int
    equal: int
    differing: list[int]
    unanswered: int
    sampling: dict[str, Any]
    expected: str
    meaning: str


class Reproduced(msgspec.Struct, frozen=True, kw_only=True):
    """What a reproduction has shown.

    `kind`: of the original. `reproduction`: the ID of the new analysis; None of an evaluation, of which only items are asked again.
    `tolerance`: the largest relative difference of scores that counts as agreement. `scores`: of both. `onlyOriginal`, `onlyReproduction`:
    names of scores and curves that only one has. `curves`: how many both have; `equalCurves`: how many of them have the same points.
    `outputs`: None if nothing was run. `sameEnvironment`: whether the code ran in an environment with the same digest; None if not known.
    `items`: None if none were asked. `agrees`: see `agrees`.
    """

    kind: str
    original: str
    reproduction: str | None = None
    tolerance: float = 0.0
    scores: list[ScoreAgreement] = []
    onlyOriginal: list[str] = []
    onlyReproduction: list[str] = []
    curves: int = 0
    equalCurves: int = 0
    outputs: FilesAgreement | None = None
    sameEnvironment: bool | None = None
    items: ItemsAgreement | None = None
    agrees: bool = False


def analyses(original: codecs.Json, reproduction: codecs.Json, tolerance: float) -> Reproduced:
    """Compare two complete analyses, without their files and without items."""
    had, has = _by_name(original, "scores", "quantity"), _by_name(reproduction, "scores", "quantity")
    curves, again = _by_name(original, "curves", "points"), _by_name(reproduction, "curves", "points")
    provenance, other = original.get("provenance") or {}, reproduction.get("provenance") or {}
    environments = [((each.get("run") or {}).get("environment") or {}).get("digest") for each in (provenance, other)]
    return Reproduced(
        kind=original["kind"],
        original=original["id"],
        reproduction=reproduction["id"],
        tolerance=tolerance,
        scores=[score(name, had[name], has[name], tolerance) for name in had if name in has],
        onlyOriginal=[*(each for each in had if each not in has), *(each for each in curves if each not in again)],
        onlyReproduction=[*(each for each in has if each not in had), *(each for each in again if each not in curves)],
        curves=len(curves.keys() & again.keys()),
        equalCurves=sum(curves[name] == again[name] for name in curves.keys() & again.keys()),
        outputs=_outputs((provenance.get("outputs") or {}).get("sha256"), (other.get("outputs") or {}).get("sha256")),
        sameEnvironment=None if None in environments else environments[0] == environments[1],
    )


def score(name: str, original: float, reproduction: float, tolerance: float) -> ScoreAgreement:
    """Compare a score. The tolerance is relative to the larger of both; two that are not a number are equal."""
    equal = original == reproduction or (math.isnan(original) and math.isnan(reproduction))
    within = equal or math.isclose(original, reproduction, rel_tol=tolerance, abs_tol=0.0)
    return ScoreAgreement(name, original, reproduction, reproduction - original, equal, within)


def with_files(found: Reproduced, original: Mapping[str, str | None], reproduction: Mapping[str, str | None]) -> Reproduced:
    """With the files of both: SHA-256 by path, None if it is not known."""
    paths = sorted(original.keys() | reproduction.keys())
    differing = [each for each in paths if each not in original or each not in reproduction or original[each] != reproduction[each]]
    before = found.outputs or _outputs(None, None)
    outputs = msgspec.structs.replace(before, compared=len(paths), differing=differing[:MOST_LISTED], equal=not differing)
    return msgspec.structs.replace(found, outputs=outputs)


def answers(
    of: Mapping[str, str], asked: Sequence[int], original: Mapping[int, Iterable[str]], again: Mapping[int, Iterable[str]],
    sampling: codecs.Json,
) -> ItemsAgreement:  # fmt: skip
    """Compare answers. `of`: the IDs `evaluation`, `dataset` and `reproduction`. `asked`: the indices of the items. `original`, `again`: by
    index, the answers of all replications, each as a text. `sampling`: what all requests have.
    """
    both = [index for index in asked if index in original and index in again]
    differing = [index for index in both if not set(again[index]) & set(original[index])]
    expected, meaning = _expected(sampling)
    return ItemsAgreement(
        **of, compared=len(both), equal=len(both) - len(differing), differing=differing[:MOST_LISTED], unanswered=len(asked) - len(both),
        sampling=sampling, expected=expected, meaning=meaning,
    )  # fmt: skip


def agrees(found: Reproduced, *, exact: bool) -> bool:
    """Whether a reproduction agrees with its original.

    Both have the same scores, all within the tolerance, and the same curves; files decide where there are neither. Answers decide if they
    must not differ. `exact`: scores, files and answers must all be equal.
    """
    is_same = not found.onlyOriginal and not found.onlyReproduction and found.curves == found.equalCurves
    scores = all(each.equal if exact else each.within for each in found.scores)
    has_numbers = bool(found.scores) or found.curves > 0
    files = found.outputs is None or found.outputs.equal is not False or (has_numbers and not exact)
    items = found.items is None or (found.items.compared > 0 and found.items.compared == found.items.equal and found.items.unanswered == 0)
    if found.items is not None and found.items.expected != EQUAL and not exact:
        items = True
    return is_same and scores and files and items


EQUAL, MAY_DIFFER = "equal", "may differ"


def _expected(sampling: codecs.Json) -> tuple[str, str]:
    """Whether answers must be equal, and why."""
    if sampling.get("temperature") == 0 and not isinstance(sampling["temperature"], bool):
        return EQUAL, (
            "All requests have temperature 0, so the same system should give the same answers; "
            "other hardware or batching can still change some."
        )
    if "seed" in sampling:
        return MAY_DIFFER, "The requests have a seed: answers are equal only if the system honours it, and is otherwise unchanged."
    if "temperature" in sampling:
        return (
            MAY_DIFFER,
            "Answers are sampled at a temperature above 0 without a seed: each is a draw, so differences are no disagreement.",
        )
    return MAY_DIFFER, "The temperature is not known from the requests: answers may be sampled, so differences are no disagreement."


def _outputs(original: str | None, reproduction: str | None) -> FilesAgreement:
    known = original is not None and reproduction is not None
    return FilesAgreement(original, reproduction, original == reproduction if known else None)


def _by_name(analysis: codecs.Json, field: str, value: str) -> dict[str, Any]:
    return {each["name"]: each[value] for each in analysis.get(field) or []}
