"""The one table of kinds: names, statuses, dependencies, what they cost and what may be asked about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from dyff.entities import codecs, costs, statuses
from dyff.kernel import ids

SLOT = costs.SLOT

Path = tuple[str, ...]


def _none(_: codecs.Json) -> list[str]:
    return []


def _no_cost(_: codecs.Json) -> dict[str, str]:
    return {}


class EntityKind(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table.

    `plural`: resource name in routes and grants, and collection in the query store. `first`: the status at creation.
    `success` and `failure`: how its run ends. `runs(entity)`: whether it needs a custom resource; if not it becomes
    `success` as soon as its dependencies have succeeded. `cost(entity)`: quantities of quota used while admitted.
    `dependencies(entity)`: IDs that must be in a success status first. `uses(entity)`: IDs whose stored data its run may
    read besides those. `query`: parameter name to field path, besides
    those that all kinds share.
    """

    kind: str
    plural: str
    first: str = statuses.CREATED
    success: str = statuses.READY
    failure: str = statuses.ERROR
    runs: Callable[[codecs.Json], bool] = lambda _: False
    dependencies: Callable[[codecs.Json], list[str]] = _none
    uses: Callable[[codecs.Json], list[str]] = _none
    cost: Callable[[codecs.Json], dict[str, str]] = _no_cost
    query: dict[str, Path] = {}


COMMON_QUERY: dict[str, Path] = {"id": ("id",), "account": ("account",), "status": ("status",), "reason": ("reason",)}


def _preconditions(entity: codecs.Json) -> list[str]:
    listed = (entity.get("metadata") or {}).get("preconditions") or []
    return [each["id"] for each in listed]


def _service_dependencies(entity: codecs.Json) -> list[str]:
    mounts = ((entity.get("runner") or {}).get("volumeMounts")) or []
    sources = [mount["data"]["source"]["id"] for mount in mounts if mount.get("data")]
    model = [entity["model"]["id"]] if entity.get("model") else []
    return [*model, *sources, *_preconditions(entity)]


def _session_dependencies(entity: codecs.Json) -> list[str]:
    return [entity["inferenceService"]["id"], *_preconditions(entity)]


def _evaluation_dependencies(entity: codecs.Json) -> list[str]:
    """A running session is not one: it never reaches a success status."""
    return [entity["dataset"], entity["inferenceSession"]["inferenceService"]["id"], *_preconditions(entity)]


def _session_uses(entity: codecs.Json) -> list[str]:
    """What its service runs on."""
    return _service_dependencies(entity["inferenceService"])


def _evaluation_uses(entity: codecs.Json) -> list[str]:
    reference = entity.get("inferenceSessionReference")
    return [*_session_uses(entity["inferenceSession"]), *([reference] if reference else [])]


def _model_runs(entity: codecs.Json) -> bool:
    return entity["source"]["kind"] in ("GitLFS", "HuggingFaceHub", "OpenLLM")


def first_status(entity_kind: EntityKind, entity: codecs.Json) -> str:
    """The status at creation: what waits for an upload says so from the first moment."""
    if entity_kind.kind == "Model" and entity["source"]["kind"] == "Upload":
        return statuses.WAITING_FOR_UPLOAD
    return entity_kind.first


def with_first_status(entity: codecs.Json) -> codecs.Json:
    """`entity`, new, with the status of its kind."""
    entity["status"] = first_status(BY_KIND[entity["kind"]], entity)
    return entity


_SERVICE_QUERY: dict[str, Path] = {
    "inferenceService": ("inferenceService", "id"),
    "inferenceServiceName": ("inferenceService", "name"),
    "model": ("inferenceService", "model", "id"),
    "modelName": ("inferenceService", "model", "name"),
}

TABLE = (
    EntityKind(kind="Dataset", plural="datasets", first=statuses.WAITING_FOR_UPLOAD, query={"name": ("name",)}),
    EntityKind(
        kind="Model",
        plural="models",
        runs=_model_runs,
        dependencies=_preconditions,
        cost=lambda entity: costs.fetch(entity) if _model_runs(entity) else {},
        query={"name": ("name",)},
    ),
    EntityKind(
        kind="InferenceService",
        plural="inferenceservices",
        dependencies=_service_dependencies,
        query={"name": ("name",), "model": ("model", "id"), "modelName": ("model", "name")},
    ),
    EntityKind(
        kind="InferenceSession",
        plural="inferencesessions",
        success=statuses.TERMINATED,
        runs=lambda _: True,
        dependencies=_session_dependencies,
        uses=_session_uses,
        cost=costs.session,
        query={"name": ("name",), **_SERVICE_QUERY},
    ),
    EntityKind(
        kind="Evaluation",
        plural="evaluations",
        success=statuses.COMPLETE,
        failure=statuses.FAILED,
        runs=lambda _: True,
        dependencies=_evaluation_dependencies,
        uses=_evaluation_uses,
        cost=costs.evaluation,
        query={"dataset": ("dataset",), **{name: ("inferenceSession", *path) for name, path in _SERVICE_QUERY.items()}},
    ),
)

BY_KIND = {row.kind: row for row in TABLE}
BY_PLURAL = {row.plural: row for row in TABLE}


def used(entity: codecs.Json) -> frozenset[str]:
    """IDs of all entities whose stored data a run of `entity` may read.

    Where its kind is not known, or its form is not that of its kind, every ID anywhere in it: rather too many than too few.
    """
    row = BY_KIND.get(entity.get("kind", ""))
    if row is not None:
        try:
            return frozenset([*row.dependencies(entity), *row.uses(entity)])
        except (KeyError, TypeError, AttributeError):
            pass
    return frozenset(_ids_in(entity))


def _ids_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _ids_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from _ids_in(each)
    elif isinstance(value, str) and ids.is_id(value):
        yield value


def replication_id(evaluation_id: str, index: int) -> str:
    """The ID of a replication of an evaluation: uuid5, as published."""
    return ids.child(evaluation_id, str(index))
