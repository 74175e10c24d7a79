"""What must be the same of two measurements if their rows are to be compared, and what differs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from dyff.entities import analyses, codecs, scopes, specs, statuses
from dyff.kernel import suggestions

MAX_DEPTH = 4
"""Limit of the steps from a measurement to what it rests on: a measurement of measurements of ..., of an evaluation."""

MAX_REPLICATIONS = 10_000
"""More replications are not numbered, so that they can be compared only if both measurements are about one evaluation."""


class Source(msgspec.Struct, frozen=True):
    """A measurement that is compared.

    `id`: that was asked for; of the measurement itself, or of the safety case that reads it. `measurement`: the entity. `entities`: by
    ID, what it rests on. `contents`: by the ID of a dataset, what identifies its content.
    """

    id: str
    measurement: codecs.Json
    entities: Mapping[str, codecs.Json] = {}
    contents: Mapping[str, str] = {}

    @property
    def key(self) -> str:
        """The ID of the measurement."""
        return str(self.measurement["id"])

    @property
    def scope(self) -> codecs.Json:
        """IDs of what the measurement is about."""
        return self.measurement.get("scope") or {}

    @property
    def evaluation(self) -> codecs.Json:
        """The evaluation that it is about; empty if it is not known."""
        kinds = {each.get("keyword"): each.get("kind") for each in (self.measurement.get("method") or {}).get("inputs") or []}
        read = [each.get("entity") for each in self.measurement.get("inputs") or [] if kinds.get(each.get("keyword")) == "Evaluation"]
        return next((self.entities[each] for each in (self.scope.get("evaluation"), *read) if each in self.entities), {})

    @property
    def service(self) -> str | None:
        """The ID of the system that it is about; None if it is not known."""
        return self.scope.get("inferenceService") or embedded_service(self.evaluation).get("id")

    @property
    def dataset(self) -> str | None:
        """The ID of the dataset whose items the rows are about."""
        return self.scope.get("dataset") or self.evaluation.get("dataset")

    @property
    def replications(self) -> list[str]:
        """The IDs of the replications of its evaluation in order; empty if they are not known."""
        count = self.evaluation.get("replications") or 1
        if not self.evaluation or count > MAX_REPLICATIONS:
            return []
        return [specs.replication_id(self.evaluation["id"], place) for place in range(count)]


def embedded_service(evaluation: codecs.Json) -> codecs.Json:
    """The service as an evaluation carries it; empty if it is not known."""
    return (evaluation.get("inferenceSession") or {}).get("inferenceService") or {}


def score(source: Source, name: str) -> codecs.Json | None:
    """The score of that name; None if the measurement has none."""
    return next((each for each in source.measurement.get(analyses.SCORES) or [] if each.get("name") == name), None)


def primary(source: Source) -> str | None:
    """The name of the primary score; None if the measurement has no score."""
    found = source.measurement.get(analyses.SCORES) or []
    return next((each["name"] for each in found if each.get("priority", "primary") == "primary"), None)


def unusable(source: Source, name: str) -> str | None:
    """Why a measurement cannot be compared by a score, as the end of a sentence; None if it can, as far as its entity says."""
    entity = source.measurement
    if entity["status"] != statuses.COMPLETE:
        return f"it is not complete: its status is {entity['status']}"
    if entity.get("level") != "Instance":
        return f"it has no item-level rows: the level of its method's output is {entity.get('level')!r}, and must be 'Instance'"
    if score(source, name) is None:
        known = [str(each.get("name")) for each in entity.get(analyses.SCORES) or []]
        near = suggestions.nearest(name, known)
        meant = "" if near is None else f" (did you mean {near!r}?)"
        return f"it has no score {name!r}{meant}; it has {', '.join(known) or 'none'}"
    return contradiction(source)


def contradiction(source: Source) -> str | None:
    """What of the scope is not so, as the end of a sentence; None if nothing is, as far as what it reads is known."""
    wrong = [scopes.WORDS[field] for field, _, _ in scopes.contradictions(source.measurement, source.entities)]
    return f"its scope names another {' and another '.join(wrong)} than the outputs that it reads are of" if wrong else None


def differences(a: Source, b: Source) -> list[str]:
    """What differs between two measurements that should not, each as a sentence without a full stop. Empty if they can be joined."""
    first, second = dict(_terms(a, a.measurement, "", 0)), dict(_terms(b, b.measurement, "", 0))
    found = []
    for name in dict.fromkeys((*first, *second)):
        one, other = first.get(name), second.get(name)
        if one != other:
            found.append(_sentence(name, one, other, a, b))
    return found


def signature(source: Source) -> bytes:
    """The same for measurements that can be joined, and different for others."""
    return codecs.encode([[*name, value] for name, value in sorted(dict(_terms(source, source.measurement, "", 0)).items())])


def _terms(source: Source, entity: codecs.Json, where: str, depth: int) -> Iterator[tuple[tuple[str, str], Any]]:
    """What must be equal, by what it is (a word, and a place or a keyword). `where`: of the input that leads to `entity`."""
    method = entity.get("method") or {}
    yield ("method", where), method.get("id")
    if not depth:
        yield ("dataset", where), _content(source, source.dataset)
        yield ("sampling", where), source.evaluation.get("client", {}).get("inputPipeline") or []
    for each in entity.get("arguments") or []:
        yield ("argument", f"{where}{each.get('keyword')}"), each.get("value")
    kinds = {each.get("keyword"): each.get("kind") for each in method.get("inputs") or []}
    for each in entity.get("inputs") or []:
        keyword, entity_id = str(each.get("keyword")), str(each.get("entity"))
        kind, read = kinds.get(keyword), source.entities.get(entity_id, {})
        place = f"{where}{keyword}"
        if kind == "Dataset":
            yield ("input", place), _content(source, entity_id)
        elif kind == "Measurement" and depth < MAX_DEPTH and read:
            yield from _terms(source, read, f"{place}.", depth + 1)
        elif kind == "Report" and read:
            yield ("report", place), read.get("rubric")
        elif kind in ("Measurement", "Report"):
            yield ("unknown", place), entity_id


def _content(source: Source, dataset: str | None) -> str | None:
    return None if dataset is None else source.contents.get(dataset, dataset)


def _sentence(name: tuple[str, str], one: Any, other: Any, a: Source, b: Source) -> str:
    """What differs. Of what a measurement was made of, which the caller may not be allowed to see, only that it does."""
    what, where = name
    is_own, place = "." not in where, repr(where.rstrip("."))
    if what == "method":
        return f"different method: {one} and {other}" if not where else f"different method of the input {place}"
    if what == "dataset":
        return f"different dataset, or another version of it: {a.dataset} and {b.dataset}, whose contents differ"
    if what == "sampling":
        pair = f"{a.evaluation.get('id')} and {b.evaluation.get('id')}"
        return f"different sampling: client.inputPipeline of the evaluations {pair} differs"
    if what == "argument":
        return f"different judge: the argument {place} " + (f"is {_shown(one)} and {_shown(other)}" if is_own else "differs")
    if what == "input":
        return f"different judge: the data of the input {place} differs"
    if what == "report":
        return f"different judge: the rubric of the input {place} differs"
    return f"it is not known whether the judge is the same: the input {place} is gone, or rests on more than is looked at"


def _shown(value: Any) -> str:
    return "not given" if value is None else repr(suggestions.shown(str(value)))


def problems(sources: Sequence[Source], name: str) -> list[str]:
    """Why measurements cannot be compared, as sentences that name them. Empty if they can, as far as their entities say."""
    found = [f"the measurement {each.key} cannot be compared: {why}" for each in sources if (why := unusable(each, name)) is not None]
    if found:
        return found
    first = sources[0]
    differing = [(each, differences(first, each)) for each in sources[1:]]
    return [f"the measurements {first.key} and {each.key} cannot be compared: {'; '.join(why)}" for each, why in differing if why]
