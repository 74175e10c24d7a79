"""Finds the files that the samples of an evaluation are in, as far as the caller may read them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from dyff.accounts import grants
from dyff.accounts.authority import Principal
from dyff.api import queries
from dyff.api.context import Context
from dyff.api.documents import is_whole
from dyff.api.routes import files
from dyff.api.samples import asked
from dyff.api.samples.asking import Stored
from dyff.entities import codecs, registry, samples, specs, statuses
from dyff.kernel import errors
from dyff.objects import layout, manifests
from dyff.query import filters, port

MEASUREMENTS = 8
"""Measurements whose scores a page shows."""

MAX_FILES = 50_000
"""Files that are looked at for one page."""

MAX_GROUPS = 200_000
"""Row groups of files that a server remembers."""

_EVALUATION, _DATASET, _MEASUREMENT = (registry.BY_KIND[name] for name in ("Evaluation", "Dataset", "Measurement"))


class Gathered(NamedTuple):
    """What to ask a program. `request`: without what the caller chooses. `stored`: the files. `names`: of the measurements, by ID."""

    request: asked.Request
    stored: list[Stored]
    missing: list[samples.LeftOut]
    names: dict[str, str]


class Gathering:
    """Finds files, and remembers what their footers say, since they never change."""

    def __init__(self, context: Context) -> None:
        """Nothing is known yet."""
        self._context = context
        self._groups: OrderedDict[str, tuple[asked.Group, ...]] = OrderedDict()
        self._count = 0

    def learn(self, stored: Sequence[Stored], groups: dict[int, tuple[asked.Group, ...]]) -> None:
        """Remember row groups, by the numbers of `stored`."""
        for number, found in groups.items():
            if 0 <= number < len(stored) and stored[number].key not in self._groups:
                self._groups[stored[number].key] = found
                self._count += len(found)
        while self._count > MAX_GROUPS:
            _, gone = self._groups.popitem(last=False)
            self._count -= len(gone)

    async def gathered(
        self, principal: Principal, evaluation: codecs.Json, chosen: Sequence[str] | None, *, incomplete: bool, exchanges: bool
    ) -> Gathered:
        """The files of an evaluation. `chosen`: IDs of measurements; None for the newest. `exchanges`: whether to read these, too.

        Raises:
            WrongStatus: it has no outputs (yet, or any more).
            NotFound: a chosen measurement does not exist, or is none of this evaluation.
            Forbidden: a chosen measurement may not be read.
        """
        manifest = await self._manifest(evaluation, incomplete=incomplete)
        stored: list[Stored] = []
        missing: list[samples.LeftOut] = []
        own = [each for each in manifest.artifacts if not each.path.startswith(".dyff/")]
        found = {
            "errors": [each for each in manifest.artifacts if each.path == layout.ERRORS],
            "exchanges": [each for each in manifest.artifacts if exchanges and each.path.startswith(layout.EXCHANGES)],
        }
        items = await self._items(principal, evaluation, missing)
        measurements = await self._measurements(principal, evaluation, chosen)
        tables, names = [], {}
        for each in measurements:
            of_it = await files.stored(self._context, _MEASUREMENT, each)
            rows = [] if of_it is None else [one for one in of_it.artifacts if not one.path.startswith(".dyff/")]
            if rows:
                tables.append(self._table(stored, rows, name=each["id"]))
                names[each["id"]] = str((each.get("method") or {}).get("name") or each["id"])
        request = asked.Request(
            url=f"/v0/{_EVALUATION.plural}/{evaluation['id']}/samples",
            outputs=self._table(stored, own, is_sorted=True),
            errors=self._table(stored, found["errors"], is_sorted=True) if found["errors"] else None,
            items=None if items is None else self._table(stored, items, unique=True),
            exchanges=self._table(stored, found["exchanges"]) if found["exchanges"] else None,
            measurements=tuple(tables),
            replications=tuple(specs.replication_id(evaluation["id"], number) for number in range(evaluation.get("replications") or 1)),
        )
        if len(stored) > MAX_FILES:
            raise errors.Conflict(f"the samples cannot be shown: they are in {len(stored)} files, and at most {MAX_FILES} can be looked at")
        return Gathered(request, stored, missing, names)

    def _table(
        self, stored: list[Stored], found: Sequence[manifests.Artifact], *, name: str = "", unique: bool = False, is_sorted: bool = False
    ) -> asked.Table:
        listed = []
        for each in sorted(found, key=lambda each: each.path):
            listed.append(asked.File(len(stored), each.path, each.size, self._groups.get(each.key)))
            stored.append(Stored(each.key, each.size))
        return asked.Table(files=tuple(listed), id=name, unique=unique, is_sorted=is_sorted)

    async def _manifest(self, evaluation: codecs.Json, *, incomplete: bool) -> manifests.Manifest:
        found = await files.stored(self._context, _EVALUATION, evaluation)
        if found is None and incomplete and evaluation["status"] != statuses.DELETED:
            root = layout.root(_EVALUATION.collection, evaluation["id"])
            found = await manifests.read(self._context.services.objects, root, layout.INCOMPLETE)
        if found is None:
            hint = (
                "; what it completed is shown with ?incomplete=true" if evaluation["status"] == statuses.FAILED and not incomplete else ""
            )
            text = f"the Evaluation {evaluation['id']} has no samples to show: its status is {evaluation['status']}{hint}"
            raise errors.WrongStatus(text)
        return found

    async def _items(
        self, principal: Principal, evaluation: codecs.Json, missing: list[samples.LeftOut]
    ) -> Sequence[manifests.Artifact] | None:
        dataset_id = evaluation["dataset"]
        document = await self._context.services.query.get(_DATASET.plural, dataset_id)
        dataset = None if document is None else codecs.decode_object(document)
        why = f"the dataset {dataset_id} does not exist any more"
        if dataset is not None:
            why = f"the token does not grant 'data' on the dataset {dataset_id}"
            if grants.allows(principal.grants, _DATASET.plural, "data", account=dataset["account"], entity=dataset_id):
                manifest = await files.stored(self._context, _DATASET, dataset)
                if manifest is not None:
                    return manifest.artifacts
                why = f"the dataset {dataset_id} has no data to read: its status is {dataset['status']}"
        missing.append(samples.LeftOut(what="item", why=why))
        return None

    async def _measurements(self, principal: Principal, evaluation: codecs.Json, chosen: Sequence[str] | None) -> list[codecs.Json]:
        if chosen is not None:
            return [await self._chosen(principal, evaluation, each) for each in chosen]
        about = filters.AnyOf(
            (
                filters.Equals(("scope", "evaluation"), evaluation["id"]),
                filters.AnyElement(("inputs",), "entity", (evaluation["id"],)),
            )
        )
        visible = queries.visible(grants.scope(principal.grants, _MEASUREMENT.plural, "data"))
        where = (visible, about, filters.Equals(("status",), _MEASUREMENT.success), filters.Equals(("level",), "Instance"))
        asked_for = filters.Find(
            collection=_MEASUREMENT.plural, where=filters.AllOf(where), order_by=("creationTime",), order="descending", limit=MEASUREMENTS
        )
        found = [codecs.decode_object(each) for each in await port.found(self._context.services.query.find(asked_for))]
        return [each for each in found if is_whole(each)]

    async def _chosen(self, principal: Principal, evaluation: codecs.Json, measurement_id: str) -> codecs.Json:
        found = await self._context.documents.entity(principal, _MEASUREMENT, measurement_id, "data")
        named = {(found.get("scope") or {}).get("evaluation"), *(each.get("entity") for each in found.get("inputs") or [])}
        if evaluation["id"] not in named:
            raise errors.NotFound(f"the Measurement {measurement_id} is not about the evaluation {evaluation['id']}")
        return found
