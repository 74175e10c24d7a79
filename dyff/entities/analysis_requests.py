"""Requests for measurements and safety cases: both are a method that is applied to data. Pure.

The method says which inputs, arguments and scope it needs. So what a request refers to is known only when its method is (`further`), and
whether it fits is checked against that method (`problems`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec

from dyff.entities import codecs, identity, stored
from dyff.entities.identity import Few, Part, Short, Text
from dyff.kernel import errors, suggestions

EntityID = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$(?!\n)",
        max_length=32,
        description="the ID of an entity: 32 hexadecimal digits of a UUID of version 4",
    ),
]

SCOPES: Mapping[str, str] = {
    "dataset": "Dataset",
    "inferenceService": "InferenceService",
    "evaluation": "Evaluation",
    "model": "Model",
}
"""The fields of a scope, each with the kind of what it names."""

NEEDED: Mapping[str, tuple[str, ...]] = {
    "InferenceService": ("inferenceService",),
    "Evaluation": ("evaluation", "inferenceService", "dataset"),
}
"""What must be given of a scope, by the scope of the method."""


class AnalysisScope(Part, frozen=True):
    """What the results are about. A method for services needs `inferenceService`; one for evaluations `dataset` and `evaluation` too."""

    dataset: EntityID | None = None
    inferenceService: EntityID | None = None
    evaluation: EntityID | None = None
    model: EntityID | None = None


class AnalysisArgument(Part, frozen=True):
    """The value of a parameter of the method: always a string, which the method reads as what it needs."""

    keyword: Short
    value: Text


class AnalysisInput(Part, frozen=True):
    """The entity whose data the method reads as `keyword`: its ID, or `<family>@<tag>`."""

    keyword: Short
    entity: Short


class AnalysisCreateRequest(identity.CreateRequest, frozen=True):
    """Applies a method to data. `method`: its ID, or `<family>@<tag>`.

    `reproduces`: the ID of a complete one that this runs again, with the same seed and the same texts; the rest must be as it was there.
    """

    example: ClassVar[codecs.Json] = {
        "account": "example",
        "method": "00000000000040008000000000000006",
        "scope": {
            "dataset": "00000000000040008000000000000001",
            "inferenceService": "00000000000040008000000000000002",
            "evaluation": "00000000000040008000000000000007",
        },
        "inputs": [{"keyword": "outputs", "entity": "00000000000040008000000000000007"}],
    }

    method: Short
    scope: AnalysisScope = AnalysisScope()
    arguments: Few[AnalysisArgument] = ()
    inputs: Few[AnalysisInput] = ()
    reproduces: EntityID | None = None


class _Named(stored.Part, frozen=True):
    """A parameter or an input of a method. `kind`: of an input; None of a parameter."""

    keyword: str
    kind: str | None = None


class _KnownMethod(stored.Part, frozen=True):
    """What a request must know of its method."""

    id: str
    scope: str
    output: dict[str, Any]
    parameters: list[_Named] = msgspec.field(default_factory=list)
    inputs: list[_Named] = msgspec.field(default_factory=list)


class _KnownEvaluation(stored.Part, frozen=True):
    """What a scope must know of an evaluation."""

    dataset: str
    inferenceSession: dict[str, Any]


def references(request: AnalysisCreateRequest) -> list[identity.Reference]:
    """The method, and what the scope names."""
    found = [identity.Reference("Method", request.method, ("body", "method"))]
    for field, kind in SCOPES.items():
        value = getattr(request.scope, field)
        if value is not None:
            found.append(identity.Reference(kind, value, ("body", "scope", field)))
    return found


def further(request: AnalysisCreateRequest, embedded: identity.Embedded) -> list[identity.Reference]:
    """The inputs, whose kinds the method says. Those whose keyword it does not have are left to `problems`."""
    kinds = {each.keyword: each.kind for each in codecs.opened(embedded[request.method], _KnownMethod).inputs}
    return [
        identity.Reference(kind, each.entity, ("body", "inputs", n, "entity"))
        for n, each in enumerate(request.inputs)
        if (kind := kinds.get(each.keyword)) is not None
    ]


def problems(request: AnalysisCreateRequest, embedded: identity.Embedded, makes: str) -> list[errors.Problem]:
    """What does not fit the method. `makes`: the kind of entity that is created, which must be the method's output."""
    method = codecs.opened(embedded[request.method], _KnownMethod)
    found = list(_of_output(method, makes))
    found += _of_keywords("arguments", [each.keyword for each in request.arguments], [each.keyword for each in method.parameters])
    found += _of_keywords("inputs", [each.keyword for each in request.inputs], [each.keyword for each in method.inputs])
    found += _of_scope(request.scope, method, embedded)
    return found


def _of_output(method: _KnownMethod, makes: str) -> Iterator[errors.Problem]:
    kind = method.output.get("kind")
    if kind != makes:
        yield errors.Problem(("body", "method"), f"must be a method that makes a {makes}; {method.id} makes a {kind}")


def _of_keywords(field: str, given: Sequence[str], wanted: Sequence[str]) -> Iterator[errors.Problem]:
    """What is wrong with the keywords of arguments or inputs: each that the method has must be given once, and no other."""
    one = field.removesuffix("s")
    for n, keyword in enumerate(given):
        loc = ("body", field, n, "keyword")
        if keyword not in wanted:
            hint = suggestions.hint(keyword, list(wanted)) if wanted else f"it has no {field}"
            yield errors.Problem(loc, f"the method has no {one} {suggestions.shown(keyword)!r}; {hint}")
        elif keyword in given[:n]:
            yield errors.Problem(loc, f"the {one} {keyword!r} is there twice; give each once")
    missing = [each for each in wanted if each not in given]
    if missing:
        yield errors.Problem(("body", field), f"the method needs the {one if len(missing) == 1 else field} {', '.join(missing)}")


def _of_scope(scope: AnalysisScope, method: _KnownMethod, embedded: identity.Embedded) -> Iterator[errors.Problem]:
    for field in NEEDED.get(method.scope, ()):
        if getattr(scope, field) is None:
            yield errors.Problem(("body", "scope", field), f"must be given, because the method is about one {method.scope}")
    if scope.evaluation is None:
        return
    evaluation = codecs.opened(embedded[scope.evaluation], _KnownEvaluation)
    ran = {"dataset": evaluation.dataset, "inferenceService": evaluation.inferenceSession["inferenceService"]["id"]}
    for field, value in ran.items():
        if getattr(scope, field) not in (None, value):
            text = f"must be {value}, the {SCOPES[field]} of the evaluation {scope.evaluation}"
            yield errors.Problem(("body", "scope", field), text)
