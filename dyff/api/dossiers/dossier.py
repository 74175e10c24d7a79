"""The dossier of a safety case, made of what was gathered. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from dyff.api.dossiers import carrying, details, precision, runs, warnings
from dyff.entities import analysis_data, codecs, dossiers, labels, registry, statuses
from dyff.entities.exports import evidence, prov
from dyff.entities.exports.evidence import Gathered, Named

_CLAIM = ("claim", "scope", "assumptions", "limits", "evaluators", "relationship")


class Places(msgspec.Struct, frozen=True):
    """Paths: of the page, of the entity in the API, and of the author's document; None if there is none (any more)."""

    page: str
    data: str
    notebook: str | None = None


def of(gathered: Gathered, counted: runs.Counted, places: Places, others: dossiers.OtherSystems | None = None) -> dossiers.Dossier:
    """The dossier. `others`: None if the case reads no measurement."""
    case = gathered.root
    texts = _texts(case)
    carried = carrying.carried(case)
    return dossiers.Dossier(
        id=case["id"],
        name=str(case.get("name") or case["id"]),
        account=case["account"],
        status=case["status"],
        reason=case.get("reason"),
        message=case.get("message"),
        published=labels.access(case),
        created=case.get("creationTime"),
        ended=case.get("lastTransitionTime") if statuses.is_terminal(case["status"]) else None,
        title=_text(texts.get("title")),
        summary=_text(texts.get("summary")),
        text=_text(texts.get("fullPage")),
        system=_heading(carried.get(analysis_data.SYSTEM)),
        test=_heading(carried.get(analysis_data.USECASE)),
        claim=claim(texts),
        scores=_scores(case),
        restsOn=[_basis(gathered, each, carried) for each in gathered.named],
        arguments={each["keyword"]: str(each.get("value")) for each in case.get("arguments") or [] if isinstance(each.get("keyword"), str)},
        environment=details.environment(case.get("provenance")),
        reproduces=case.get("reproduces"),
        reproductions=runs.reproductions(case, counted.tallies),
        warnings=warnings.of(gathered, counted.left_out),
        notShown=_not_shown(gathered, counted.tallies, carried),
        otherSystems=others,
        page=places.page,
        notebook=places.notebook,
        data=f"{places.data}/dossier",
        provenance=f"{places.data}/provenance",
        eee=f"{places.data}/eee" if case["status"] == statuses.COMPLETE and case.get("scores") else None,
    )


def claim(texts: codecs.Json) -> dossiers.Claim:
    """The claim in the texts of a documentation. What is empty counts as missing."""
    found = {name: each for name in _CLAIM if (each := _text(texts.get(name))) is not None}
    if found.get("relationship") not in (None, *dossiers.RELATIONSHIPS):
        del found["relationship"]
    return dossiers.Claim(**found, missing=[name for name in _CLAIM if name not in found])


def _texts(case: codecs.Json) -> codecs.Json:
    found = (case.get("metadata") or {}).get("documentation")
    return found if isinstance(found, dict) else {}


def _scores(case: codecs.Json) -> list[dossiers.ShownScore]:
    """The primary one first, then in the order of the method. None before the case is complete, and of one that is deleted."""
    if case["status"] != statuses.COMPLETE:
        return []
    found = [shown for each in case.get("scores") or [] if (shown := precision.shown(each)) is not None]
    return sorted(found, key=lambda each: each.priority != "primary")


def _heading(carried: Any) -> dict[str, str]:
    texts = carried["documentation"] if carried else {}
    return {name: texts[name] for name in ("title", "summary") if isinstance(texts.get(name), str)}


def _basis(gathered: Gathered, reference: Named, carried: codecs.Json) -> dossiers.Basis:
    own = {each["spec"].get("id"): each["spec"] for each in carried.values()}
    entity = gathered.entities.get(reference.id)
    used = evidence.as_used(gathered, reference.kind, reference.id, hidden=True) or entity
    is_method = evidence.object_of(gathered.root, "method").get("id") == reference.id
    visible = reference.id in gathered.readable or reference.id in own or is_method
    known = used or own.get(reference.id) or {}
    digest, digest_of = _digest(gathered, reference, known or None)
    found = dossiers.Basis(role=reference.role, kind=reference.kind, id=reference.id, visible=visible, digest=digest, digestOf=digest_of)
    if not visible:
        return found
    more = details.of(reference.kind, {**own.get(reference.id, {}), **known})
    if (release := prov.release({"platform": gathered.platforms.get(reference.id)})) is not None:
        more["Release of Dyff"] = details.shortened(release)
    name = known.get("name") or own.get(reference.id, {}).get("name")
    there = entity or {}
    return msgspec.structs.replace(found, name=_text(name), status=there.get("status"), created=there.get("creationTime"), details=more)


def _digest(gathered: Gathered, reference: Named, used: codecs.Json | None) -> tuple[str | None, str | None]:
    if reference.id in gathered.digests:
        return f"sha256:{gathered.digests[reference.id]}", evidence.MANIFEST
    if used is not None and registry.BY_KIND[reference.kind].download is None:
        return f"sha256:{evidence.fields_digest(used)}", evidence.FIELDS
    return None, None


def _not_shown(gathered: Gathered, tallies: Sequence[runs.Tally], carried: codecs.Json) -> dossiers.NotShown:
    own = [gathered.root["id"], *(each.id for each in gathered.named)]
    counted = [runs.counted(each, own, gathered.root["account"]) for each in tallies]
    firsts = [each.first for each in counted if each.kind == "Evaluation" and each.first is not None]
    first = min(firsts, default=None)
    fixed = [_fixed(gathered, each, first, carried) for each in gathered.named if each.kind in ("Method", "Dataset")]
    return dossiers.NotShown(firstOutput=first, fixed=fixed, runs=counted, cannotReveal=runs.CANNOT_REVEAL)


def _fixed(gathered: Gathered, reference: Named, first: str | None, carried: codecs.Json) -> dossiers.Fixed:
    known = [gathered.entities.get(reference.id), *(each["spec"] for each in carried.values() if each["spec"].get("id") == reference.id)]
    since = _ready_since(known)
    found = dossiers.Fixed(role=reference.role, kind=reference.kind, id=reference.id, since=since)
    if first is None:
        return found
    if reference.kind == "Dataset" and any(each.get("dataset") == reference.id for each in gathered.read("Evaluation")):
        before: bool | None = True  # an evaluation starts only when its dataset is ready
    elif since is not None:
        before = since <= first
    else:  # what was created later was not fixed before
        before = False if any(each and (each.get("creationTime") or "") > first for each in known) else None
    return msgspec.structs.replace(found, before=before)


def _ready_since(known: Iterable[codecs.Json | None]) -> str | None:
    """When an entity became ready, by any state of it that is known. A state after its deletion has the time of that."""
    for each in known:
        if each is not None and each.get("status") == statuses.READY:
            return each.get("lastTransitionTime") or each.get("creationTime")
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
