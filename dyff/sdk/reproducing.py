"""Runs an analysis again, asks a system the same items again, and compares. Used through `client.reproduce`."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

import msgspec

from dyff.entities import codecs
from dyff.entities.exports import evidence, systems
from dyff.sdk import agreement, arrow, errors

Client = Any
"""A client inside of an operation, which awaits. `dyff.sdk.client` uses this module, so it cannot be named here."""

KINDS = ("SafetyCase", "Measurement", "Evaluation")
"""The kinds that can be reproduced, in the order in which an ID is looked up."""

MAX_DEPTH = 8
"""Steps from an analysis to the evaluation whose items are asked again."""

MAX_ITEMS = 10_000
"""The most items that are asked again: all of a larger dataset is an evaluation of its own."""

LABEL = "reproduces"
"""The label of the new dataset and the new evaluation; its value is the ID of the original evaluation."""


class Asked(msgspec.Struct, frozen=True):
    """What `client.reproduce` was asked for. `account`: of what is created; None for that of the original. `timeout_s`: of each wait."""

    items: int
    account: str | None
    tolerance: float
    exact: bool
    timeout_s: float
    progress: bool


async def reproduced(client: Client, original: codecs.Json, asked: Asked) -> agreement.Reproduced:
    """Reproduce an entity. `client`: inside of an operation."""
    if original["status"] != "Complete":
        raise ValueError(
            f"the {original['kind']} {original['id']} has nothing to reproduce: its status is {original['status']}, not Complete"
        )
    if original["kind"] == "Evaluation":
        if not asked.items:
            raise ValueError("of an evaluation, items are asked again: say how many (items=10, or --items 10)")
        found = agreement.Reproduced(kind="Evaluation", original=original["id"], tolerance=asked.tolerance)
    else:
        found = await _run_again(client, original, asked)
    if asked.items:
        found = msgspec.structs.replace(found, items=await _ask_again(client, await _evaluation(client, original), asked))
    return msgspec.structs.replace(found, agrees=agreement.agrees(found, exact=asked.exact))


async def raw(client: Client, kind: str, entity_id: str, rest: str = "") -> codecs.Json:
    """An entity, or what is below it, as the API returns it."""
    group = client.apigroup(kind)
    return cast(codecs.Json, await client._http.call("GET", group._path(entity_id, rest)))


async def _run_again(client: Client, original: codecs.Json, asked: Asked) -> agreement.Reproduced:
    group = client.apigroup(original["kind"])._inside()
    request = {
        "account": asked.account or original["account"],
        "method": original["method"]["id"],
        **{name: original.get(name) or [] for name in ("arguments", "inputs")},
        "scope": {name: each for name, each in (original.get("scope") or {}).items() if each is not None},
        "reproduces": original["id"],
    }
    made = await group.create(request)
    await group.wait(made.id, timeout_s=asked.timeout_s, progress=asked.progress)
    found = agreement.analyses(original, await raw(client, original["kind"], made.id), asked.tolerance)
    try:
        files = [_digests(await raw(client, original["kind"], each, "manifest")) for each in (original["id"], made.id)]
    except (errors.NotAllowed, errors.Refused):  # the token may not fetch the lists, or the original's data is gone
        return found
    return agreement.with_files(found, files[0], files[1])


def _digests(manifest: codecs.Json) -> dict[str, str | None]:
    return {each["path"]: (each.get("digest") or {}).get("sha256") for each in manifest.get("artifacts") or []}


async def _evaluation(client: Client, original: codecs.Json) -> codecs.Json:
    """The evaluation that an analysis rests on; the first one, if there are several.

    Raises:
        ValueError: there is none.
    """
    found = original
    for _ in range(MAX_DEPTH):
        if found["kind"] == "Evaluation":
            return found
        named = {each.kind: each for each in reversed(list(evidence.names(found))) if each.kind in ("Evaluation", "Measurement")}
        following = named.get("Evaluation") or named.get("Measurement")
        if following is None:
            break
        found = await raw(client, following.kind, following.id)
    raise ValueError(f"the {original['kind']} {original['id']} rests on no evaluation, so there are no items to ask again")


async def _ask_again(client: Client, evaluation: codecs.Json, asked: Asked) -> agreement.ItemsAgreement:
    """Evaluate the same service on some of the items, as an evaluation of its own, and compare the answers."""
    arrow.require("asking items again")
    service = evidence.service_of(evaluation)
    await _still_there(client, service)
    account = asked.account or evaluation["account"]
    io = client._http.io
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        await _fetched("dataset", client.datasets._inside().download(evaluation["dataset"], folder / "items", progress=False))
        await _fetched("outputs", client.evaluations._inside().download(evaluation["id"], folder / "before", progress=False))
        chosen = await io.in_thread(_pick, folder / "items", folder / "some", evaluation["id"], asked.items)
        datasets = client.datasets._inside()
        dataset = await datasets.create_arrow_dataset(
            folder / "some", account=account, name=f"{len(chosen)} items of {evaluation['dataset']}"
        )
        await datasets.upload_arrow_dataset(dataset, folder / "some", progress=False)
        await datasets.label(dataset.id, {LABEL: evaluation["id"]})
        made = await _evaluated(client, evaluation, dataset.id, account, asked)
        await client.evaluations._inside().download(made, folder / "after", progress=False)
        before = await io.in_thread(_answers, folder / "before", chosen)
        after = await io.in_thread(_answers, folder / "after", chosen)
    of = {"evaluation": evaluation["id"], "dataset": evaluation["dataset"], "reproduction": made}
    return agreement.answers(of, chosen, before, after, systems.sampling_of(evaluation))


async def _still_there(client: Client, service: codecs.Json) -> None:
    """Check that the service can still be asked.

    Raises:
        ValueError: it was deleted.
    """
    try:
        status = (await raw(client, "InferenceService", service["id"]))["status"]
    except errors.Missing:
        status = "Deleted"
    if status != "Ready":
        raise ValueError(f"the service {service['id']} cannot be asked again: its status is {status}")


async def _fetched(what: str, download: Awaitable[None]) -> None:
    try:
        await download
    except errors.Refused as error:
        raise ValueError(f"the items cannot be asked again: there is no data of the {what} any more ({error.detail})") from error


async def _evaluated(client: Client, evaluation: codecs.Json, dataset: str, account: str, asked: Asked) -> str:
    """The ID of a complete evaluation of the same service, on the new dataset, with the same requests."""
    session = evidence.object_of(evaluation, "inferenceSession")
    kept = {name: session[name] for name in ("accelerator", "useSpotPods") if session.get(name) is not None}
    group: Any = client.evaluations._inside()
    made = await group.create(
        {
            "account": account,
            "dataset": dataset,
            "client": evaluation.get("client") or {},
            "inferenceSession": {"inferenceService": evidence.service_of(evaluation)["id"], **kept},
        }
    )
    await group.label(made.id, {LABEL: evaluation["id"]})
    await group.wait(made.id, timeout_s=asked.timeout_s, progress=asked.progress)
    return str(made.id)


def _pick(source: Path, destination: Path, salt: str, count: int) -> list[int]:
    """Write `count` rows of a dataset to a new folder, each in the file and the folders that it had; returns their indices.

    Which ones follows from the ID of the evaluation: nobody chooses, and everybody who repeats it asks the same.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    files = sorted(
        each for each in source.rglob("*") if each.is_file() and not any(part.startswith(".") for part in each.parts[len(source.parts) :])
    )
    indices: list[int] = []
    for file in files:
        indices += cast("list[int]", pq.ParquetFile(file).read(columns=["_index_"]).column("_index_").to_pylist())
    chosen = sorted(indices, key=lambda index: hashlib.sha256(f"{salt}:{index}".encode()).digest())[:count]
    wanted = pa.array(chosen, pa.int64())
    for file in files:
        table = pq.ParquetFile(file).read()
        rows = table.filter(pc.is_in(table.column("_index_"), value_set=wanted))
        if rows.num_rows:
            place = destination / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(rows, place)
    return chosen


def _answers(folder: Path, chosen: list[int]) -> dict[int, list[str]]:
    """By index, what each replication was answered, as a text that is the same if all values are."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted, found = pa.array(chosen, pa.int64()), cast("dict[int, list[str]]", {})
    for file in sorted(each for each in folder.rglob("*.parquet") if each.is_file()):
        table = pq.ParquetFile(file).read()
        for row in table.filter(pc.is_in(table.column("_index_"), value_set=wanted)).to_pylist():
            index = row.pop("_index_")
            row.pop("_replication_", None)
            found.setdefault(index, []).append(repr(row))
    return found
