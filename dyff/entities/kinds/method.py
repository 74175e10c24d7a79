"""Methods: how a measurement or a safety case is computed from data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from dyff.entities import codecs, compute, data, described, identity, kind, method_code, scoring
from dyff.entities.identity import Few, Part, Short, Text
from dyff.kernel import errors, suggestions

Keyword = Annotated[str, msgspec.Meta(min_length=1, max_length=127)]
QualifiedName = Annotated[
    str,
    msgspec.Meta(
        max_length=1024,
        pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)+$(?!\n)",
        description="names separated by dots, such as package.module.function",
    ),
]

OF_THE_ENVIRONMENT = "dyff."
"""Functions whose names begin so come with the analysis environment, and need no module."""

RUBRIC_INPUTS = {"task_data": "Dataset", "predictions": "Evaluation"}
"""The inputs of a rubric: names and kinds."""


class MethodImplementationPythonFunction(Part, frozen=True):
    """A function, called with the arguments as a dict, and the inputs as keywords. It yields Arrow record batches."""

    fullyQualifiedName: QualifiedName


class MethodImplementationPythonRubric(Part, frozen=True):
    """A rubric, as older releases had it: a class that makes one row for each item."""

    fullyQualifiedName: QualifiedName


class MethodImplementationJupyterNotebook(Part, frozen=True):
    """A notebook in a module, which must be one of `modules` as well."""

    notebookModule: Short
    notebookPath: data.FilePath


class MethodImplementation(Part, frozen=True):
    """The code. The field that belongs to its `kind` is required: `pythonFunction`, `pythonRubric` or `jupyterNotebook`."""

    rules: ClassVar[codecs.Json] = {
        "properties": {"kind": {"enum": ["PythonFunction", "PythonRubric", "JupyterNotebook"]}},
        "allOf": described.field_of_kind(
            {"PythonFunction": "pythonFunction", "PythonRubric": "pythonRubric", "JupyterNotebook": "jupyterNotebook"}
        ),
    }

    kind: Short
    pythonFunction: MethodImplementationPythonFunction | None = None
    pythonRubric: MethodImplementationPythonRubric | None = None
    jupyterNotebook: MethodImplementationJupyterNotebook | None = None

    def __post_init__(self) -> None:
        """Refuse an implementation without the part that its kind needs."""
        _one_of(self, {"PythonFunction": "pythonFunction", "PythonRubric": "pythonRubric", "JupyterNotebook": "jupyterNotebook"})

    @property
    def qualified_name(self) -> str | None:
        """The name of its function or class; None of a notebook."""
        named = self.pythonFunction or self.pythonRubric
        return named.fullyQualifiedName if named else None


class MethodParameter(Part, frozen=True):
    """A parameter. Its argument is always a string."""

    keyword: Keyword
    description: Text | None = None


class MethodInput(Part, frozen=True):
    """Data that the method reads."""

    kind: Literal["Dataset", "Evaluation", "Measurement", "Report"]
    keyword: Keyword
    description: Text | None = None


class MeasurementSpec(Part, frozen=True):
    """A table. `level`: `Instance` for one row for each item, which then has `_index_`; `Dataset` for rows about the whole."""

    name: Short
    level: Literal["Dataset", "Instance"]
    schema: data.DataSchema
    description: Text | None = None


class SafetyCaseSpec(Part, frozen=True):
    """A document."""

    name: Short
    description: Text | None = None


class MethodOutput(Part, frozen=True):
    """What the method makes. The field that belongs to its `kind` is required: `measurement` or `safetyCase`."""

    rules: ClassVar[codecs.Json] = {"allOf": described.field_of_kind({"Measurement": "measurement", "SafetyCase": "safetyCase"})}

    kind: Literal["Measurement", "SafetyCase"]
    measurement: MeasurementSpec | None = None
    safetyCase: SafetyCaseSpec | None = None

    def __post_init__(self) -> None:
        """Refuse an output without the part that its kind needs."""
        _one_of(self, {"Measurement": "measurement", "SafetyCase": "safetyCase"})


def _at(path: str, schema: codecs.Json) -> codecs.Json:
    """The rule that `schema` holds of the field at a path such as `output.kind`."""
    for step in reversed(path.split(".")):
        schema = {"properties": {step: schema}}
    return schema


def _implemented_by(name: str) -> codecs.Json:
    return _at("implementation.kind", {"const": name})


def _makes(name: str) -> codecs.Json:
    return _at("output.kind", {"const": name})


_OF_RUBRICS: codecs.Json = {
    "required": ["inputs"],
    "properties": {
        **_at("output.measurement.level", {"const": "Instance"})["properties"],
        "parameters": {"maxItems": 0},
        "inputs": {
            "minItems": 2,
            "maxItems": 2,
            "allOf": [
                {"contains": {"properties": {"keyword": {"const": name}, "kind": {"const": of}}}} for name, of in RUBRIC_INPUTS.items()
            ],
        },
    },
}


class MethodCreateRequest(identity.CreateRequest, frozen=True):
    """Describes a method. `scope`: what its results are about. `analysisImage`: the environment; None for the server's own."""

    rules: ClassVar[codecs.Json] = {
        "allOf": [
            {"if": _implemented_by("JupyterNotebook"), "then": _makes("SafetyCase"), "else": _makes("Measurement")},
            {"if": _implemented_by("PythonRubric"), "then": _OF_RUBRICS},
        ]
    }
    example: ClassVar[codecs.Json] = {
        "account": "example",
        "name": "mean-word-length",
        "scope": "Evaluation",
        "implementation": {"kind": "PythonFunction", "pythonFunction": {"fullyQualifiedName": "word_length.mean_word_length"}},
        "inputs": [{"kind": "Evaluation", "keyword": "outputs"}],
        "output": {
            "kind": "Measurement",
            "measurement": {"name": "word-length", "level": "Instance", "schema": {"arrowSchema": data.EXAMPLE_SCHEMA}},
        },
        "modules": ["00000000000040008000000000000003"],
    }

    name: Short
    scope: Literal["InferenceService", "Evaluation"]
    implementation: MethodImplementation
    output: MethodOutput
    description: Text | None = None
    parameters: Few[MethodParameter] = ()
    inputs: Few[MethodInput] = ()
    scores: Few[scoring.ScoreOrCurveSpec] = ()
    modules: Few[Short] = ()
    analysisImage: compute.ContainerImageSource | None = None

    def __post_init__(self) -> None:
        """Refuse a method that could never run."""
        _no_repetition([("parameters", each.keyword) for each in self.parameters] + [("inputs", each.keyword) for each in self.inputs])
        scoring.check_all(self.scores)
        notebook = self.implementation.jupyterNotebook
        if notebook is not None and notebook.notebookModule not in self.modules:
            raise ValueError(f"modules must contain implementation.jupyterNotebook.notebookModule, {notebook.notebookModule}")
        wanted = "SafetyCase" if notebook is not None else "Measurement"
        if self.output.kind != wanted:
            raise ValueError(f"output.kind must be {wanted}, which is what a {self.implementation.kind} makes; it is {self.output.kind}")
        if self.implementation.pythonRubric is not None:
            self._check_rubric()

    def _check_rubric(self) -> None:
        if {each.keyword: each.kind for each in self.inputs} != RUBRIC_INPUTS or self.parameters:
            needed = " and ".join(f"{name} (of the kind {kind_})" for name, kind_ in RUBRIC_INPUTS.items())
            raise ValueError(f"inputs of a PythonRubric must be {needed}, and it has no parameters")
        if self.output.measurement is None or self.output.measurement.level != "Instance":
            raise ValueError("output of a PythonRubric must be a Measurement with the level 'Instance'")


class Method(identity.Entity, kw_only=True, frozen=True):
    """How a measurement or a safety case is computed from data."""

    name: str
    scope: str
    implementation: Annotated[dict[str, Any], described.like(MethodImplementation)]
    output: Annotated[dict[str, Any], described.like(MethodOutput)]
    description: str | None = None
    parameters: list[Annotated[dict[str, Any], described.like(MethodParameter)]] = msgspec.field(default_factory=list)
    inputs: list[Annotated[dict[str, Any], described.like(MethodInput)]] = msgspec.field(default_factory=list)
    scores: list[Annotated[dict[str, Any], described.like(scoring.ScoreOrCurveSpec)]] = msgspec.field(default_factory=list)
    modules: list[str] = msgspec.field(default_factory=list)
    analysisImage: Annotated[dict[str, Any], described.like(compute.ContainerImageSource)] | None = None


def _references(request: MethodCreateRequest) -> list[identity.Reference]:
    found = [identity.Reference("Module", each, ("body", "modules", n)) for n, each in enumerate(request.modules)]
    notebook = request.implementation.jupyterNotebook
    if notebook is not None:  # one of `modules`, but a tag must be replaced here, too
        loc = ("body", "implementation", "jupyterNotebook", "notebookModule")
        found.append(identity.Reference("Module", notebook.notebookModule, loc))
    return found


def _own(request: MethodCreateRequest, embedded: identity.Embedded) -> codecs.Json:
    """Raises InvalidFields if the code is in none of the modules."""
    if problem := _code_problem(request, {each: method_code.paths(embedded[each]) for each in request.modules}):
        raise errors.InvalidFields(problem)
    return {**identity.spec_of(request), "scores": [each.filled() for each in request.scores]}


def _code_problem(request: MethodCreateRequest, modules: Mapping[str, frozenset[str]]) -> errors.Problem | None:
    """What is wrong with where the code is, given the paths of the files of each module; None if nothing is."""
    loc: tuple[str | int, ...] = ("body", "implementation")
    notebook, name = request.implementation.jupyterNotebook, request.implementation.qualified_name
    if notebook is not None:
        text = method_code.file_problem(notebook.notebookModule, notebook.notebookPath, modules[notebook.notebookModule])
        return errors.Problem((*loc, "jupyterNotebook", "notebookPath"), text) if text else None
    if name is None or request.analysisImage is not None or name.startswith(OF_THE_ENVIRONMENT):
        return None
    text = method_code.name_problem(name, modules.values())
    where = "pythonFunction" if request.implementation.pythonFunction else "pythonRubric"
    return errors.Problem((*loc, where, "fullyQualifiedName"), text) if text else None


def _one_of(part: Any, fields: Mapping[str, str]) -> None:
    """Check that of `fields` (by kind) the one that belongs to the part's kind is given, and no other.

    Raises:
        ValueError: otherwise, or its kind is not known.
    """
    if part.kind not in fields:
        raise ValueError(f"kind {suggestions.shown(part.kind)!r} is not known; {suggestions.hint(part.kind, list(fields))}")
    wanted = fields[part.kind]
    if getattr(part, wanted) is None:
        raise ValueError(f"{wanted} must be given, because kind is {part.kind}")
    for other in fields.values():
        if other != wanted and getattr(part, other) is not None:
            raise ValueError(f"{other} must be left out, because kind is {part.kind}")


def _no_repetition(keywords: list[tuple[str, str]]) -> None:
    known: set[str] = set()
    for field, keyword in keywords:
        if keyword in known:
            raise ValueError(f"{field}: the keyword {keyword!r} is there twice among parameters and inputs; each needs its own")
        known.add(keyword)


def _is_of(level: str) -> Any:
    return lambda request: request.output.measurement is not None and request.output.measurement.level == level


SCHEMA = ("output", "measurement", "schema")

KIND = kind.Kind(
    name="Method",
    plural="methods",
    entity=Method,
    creation=kind.Creation(
        request=MethodCreateRequest,
        references=_references,
        spec=_own,
        checks=(
            kind.Check("indexed-schema", SCHEMA, when=_is_of("Instance")),
            kind.Check("schema", SCHEMA, when=_is_of("Dataset")),
        ),
    ),
    embedded=(
        "id", "account", "name", "scope", "description", "implementation", "parameters", "inputs", "output", "scores", "modules",
        "analysisImage",
    ),
    dependencies=lambda entity: [*entity["modules"], *kind.preconditions(entity)],
    query={"name": ("name",), "outputKind": ("output", "kind")},
)  # fmt: skip
