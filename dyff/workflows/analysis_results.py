"""Scores and curves that a program has output, checked against what its method declares. Pure.

Of what the program wrote, only the name, the quantity or the points, the text of a score and its interval are used. All the rest comes
from the method.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from dyff.entities import codecs, score_formats, scoring, specs
from dyff.kernel import errors, ids, suggestions
from dyff.workflows import analysis_estimates

MAX_TEXT_CHARS = 280
"""As published; the published client refuses scores with longer texts."""

MAX_POINTS = 10_000
MAX_POINTS_BYTES = 256 * 2**10
"""Of all curves together, as JSON."""

_FIELDS = frozenset(scoring.ScoreOrCurveSpec.__struct_fields__)
_USE = {"score": "ctx.Score(quantity=..., text=..., output={!r})", "curve": "ctx.Curve(points=..., text=..., output={!r})"}

Spec = scoring.ScoreOrCurveSpec


class Invalid(Exception):
    """The output does not fit what the method declares; the message is a sentence or two that name the score and the fix."""


def declared(method: codecs.Json) -> list[Spec]:
    """The scores and curves that a method declares.

    Raises:
        Misconfigured: they cannot be read.
    """
    try:
        known = [{name: value for name, value in each.items() if name in _FIELDS} for each in method.get("scores") or ()]
        return msgspec.convert(known, list[Spec])
    except (msgspec.ValidationError, AttributeError) as error:
        raise errors.Misconfigured(f"the method's scores cannot be read: {error}") from error


def scores(spec: specs.Analysis, wanted: Iterable[Spec], data: bytes | None, estimates: bytes | None) -> list[codecs.Json]:
    """The score entities, in the order of their declarations. `data`: `.dyff/scores.json`; None if there is none. `estimates`: the
    same of `.dyff/estimates.json`, which has intervals, also of scores that the first file does not have.

    Raises:
        Invalid: they are not exactly those that are declared, or a value is wrong.
    """
    wanted = list(wanted)
    entries = _entries(data, "scores")
    try:
        intervals = analysis_estimates.read(estimates)
    except ValueError as error:
        raise Invalid(str(error)) from error
    _check_quantities(entries, intervals)
    known = {each["name"] for each in entries}
    entries += [each.score() for each in intervals.values() if each.name not in known]
    found = _by_name(wanted, entries, "score")
    return [_score(spec, each, found[each.name], intervals.get(each.name)) for each in wanted if not each.is_curve]


def _check_quantities(entries: list[dict[str, Any]], intervals: dict[str, analysis_estimates.Entry]) -> None:
    for each in entries:
        interval = intervals.get(each["name"])
        if interval is not None and each.get("quantity") != interval.quantity:
            raise Invalid(
                f"The score {_shown(each['name'])} was output twice, with the quantities {each.get('quantity')} and {interval.quantity}. "
                f"Call dyff.stats.score(..., context=ctx), which calls ctx.Score itself."
            )


def curves(spec: specs.Analysis, wanted: Iterable[Spec], data: bytes | None) -> list[codecs.Json]:
    """The curve entities; see `scores`. `data`: `.dyff/curves.json`."""
    wanted = list(wanted)
    found = _by_name(wanted, _entries(data, "curves"), "curve")
    made = [_curve(spec, each, found[each.name]) for each in wanted if each.is_curve]
    size = sum(len(codecs.encode(each["points"])) for each in made)
    if size > MAX_POINTS_BYTES:
        raise Invalid(f"The points of the curves have {size} bytes as JSON, more than {MAX_POINTS_BYTES}. Output fewer points.")
    return made


def _entries(data: bytes | None, key: str) -> list[dict[str, Any]]:
    """The entries of a file in the published form. NaN is allowed here, so that the message about it can name the score."""
    if data is None:
        return []
    name = f".dyff/{key}.json"
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{name} is not JSON ({str(error)[:200]}). Let AnalysisContext write it.") from error
    entries = document.get(key) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in entries):
        form = f'{{"{key}": [{{"name": ...}}]}}'
        raise Invalid(f"{name} must have the form {form}, and each entry a name. Let AnalysisContext write it.")
    return entries


def _by_name(wanted: list[Spec], entries: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """The entries by name, if they are exactly those that are declared."""
    names = {each.name for each in wanted if each.is_curve == (kind == "curve")}
    others = {each.name for each in wanted} - names
    counts = Counter(each["name"] for each in entries)
    for name, count in counts.items():
        if name in others:
            other = "curve" if kind == "score" else "score"
            raise Invalid(f"{_shown(name)} was output as a {kind}, but the method declares it as a {other}. Use {_use(other, name)}.")
        if name not in names:
            near = f"; {suggestions.hint(name, sorted(names))}" if names else f"; it declares no {kind}s"
            raise Invalid(f"The {kind} {_shown(name)} is not declared in the method's scores{near}. Declare it, or do not output it.")
        if count > 1:
            raise Invalid(f"The {kind} {_shown(name)} was output {count} times. Output it once.")
    for name in sorted(names - counts.keys()):
        raise Invalid(f"The {kind} {name!r} is declared by the method, but was not output. Call {_use(kind, name)}.")
    return {each["name"]: each for each in entries}


def _score(spec: specs.Analysis, declaration: Spec, found: dict[str, Any], interval: analysis_estimates.Entry | None) -> codecs.Json:
    of, filled = f"The score {declaration.name!r}", declaration.filled()
    quantity = found.get("quantity")
    if quantity is None:
        raise Invalid(f"{of} has no quantity; NaN and infinity are written as null, too. Output a finite number.")
    quantity, text = _number(quantity, f"{of}: its quantity"), _text(found.get("text"), of)
    written = score_formats.written(filled["format"], quantity, filled.get("unit"))
    common = _common(spec, "Score", declaration.name)
    if interval is not None:
        common["metadata"]["estimate"] = interval.stored()
    return {**filled, **common, "quantity": quantity, "quantityString": written, "text": text}


def _text(text: Any, of: str) -> str:
    if not isinstance(text, str):
        raise Invalid(f"{of} has no text, which says what the quantity means. Output a string of at most {MAX_TEXT_CHARS} characters.")
    if len(text) > MAX_TEXT_CHARS:
        raise Invalid(f"{of} has a text of {len(text)} characters, more than {MAX_TEXT_CHARS}. Shorten it.")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise Invalid(f"{of} has a text that is not Unicode: it has half a surrogate pair. Fix the text.")
    return text


def _curve(spec: specs.Analysis, declaration: Spec, found: dict[str, Any]) -> codecs.Json:
    of, filled, points = f"The curve {declaration.name!r}", declaration.filled(), found.get("points")
    dimensions = filled["dimensions"]
    if not isinstance(points, dict) or not all(isinstance(each, list) for each in points.values()):
        raise Invalid(f"{of} has no points. Output a list of numbers for each of its dimensions, {', '.join(dimensions)}.")
    for name in points:
        if name not in dimensions:
            raise Invalid(f"{of} has points of {_shown(name)}, which is none of its dimensions, {', '.join(dimensions)}. Leave them out.")
    for name in dimensions:
        if name not in points:
            raise Invalid(f"{of} has no points of its dimension {name!r}. Output a list of numbers for it.")
    lengths = {name: len(each) for name, each in points.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        listed = ", ".join(f"{name}: {count}" for name, count in lengths.items())
        raise Invalid(f"{of} must have the same number of points in each dimension, at least one; it has {listed}.")
    if (most := max(lengths.values(), default=0)) > MAX_POINTS:
        raise Invalid(f"{of} has {most} points, more than {MAX_POINTS}. Output fewer.")
    checked = {name: [_number(each, f"{of}: a point of {name!r}") for each in values] for name, values in points.items()}
    # The text of a curve is not kept: the published client refuses a curve that has one.
    return {**filled, **_common(spec, "Curve", declaration.name), "points": checked}


def _number(value: Any, what: str) -> float:
    """A finite number. NaN is written as null by the published context."""
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise Invalid(f"{what} is of the type {type(value).__name__}, not a number. Output a finite number.")
    try:
        number = math.nan if value is None else float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Invalid(f"{what} is {'null, which stands for NaN' if value is None else number}. Output a finite number.")
    return number


def _common(spec: specs.Analysis, kind: str, name: str) -> codecs.Json:
    scope = {key: value for key, value in msgspec.to_builtins(spec.scope).items() if value is not None}
    refs = {"method": spec.method, **scope}
    return {"kind": kind, "id": ids.child(spec.id, name), "analysis": spec.id, "metadata": {"refs": refs}}


def _use(kind: str, name: str) -> str:
    return _USE[kind].format(name)


def _shown(name: str) -> str:
    return repr(suggestions.shown(name))
