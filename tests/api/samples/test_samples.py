"""The samples of an evaluation, over the API and from real Parquet files."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
import pytest_asyncio

from dyff.accounts import grants
from dyff.entities import specs
from tests.api import stored_samples as stored
from tests.api.conftest import hosted, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")
PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
SVG = b"<svg onload='alert(1)'/>"
LONG = "é" * 5000
ITEMS = 60


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory):
    async for each in hosted(tmp_path_factory.mktemp("samples")):
        yield each


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def evaluation(world):
    """Sixty items in two files that are not in order, two replications; item 7 failed in the first; item 9 has only an error."""
    rows: list[dict[str, Any]] = [
        {"_index_": index, "prompt": f"What is {index}?", "group": index % 3, "choices": None, "blob": PNG if index else SVG}
        for index in range(ITEMS)
    ]
    rows[5]["prompt"] = LONG
    rows[6]["choices"] = [{"answer": "x" * 100, "wrong": None}] * 30
    items = {"b.parquet": stored.parquet(rows[40:] + rows[:10]), "a/lang=en/x.parquet": stored.parquet(rows[10:40], row_group_size=7)}
    made = await stored.evaluation(world, items, replications=2)
    one = made["id"]
    outputs = [
        stored.output(one, index, f"It is {index}.", "second", number=number, none=(index, number) == (7, 0))
        for index in range(ITEMS)
        for number in (0, 1)
        if index != 9
    ]
    files = {
        "part-00000.parquet": stored.parquet(outputs[:70], stored.OUTPUTS, row_group_size=9),
        "part-00001.parquet": stored.parquet(outputs[70:], stored.OUTPUTS, row_group_size=9),
        ".dyff/errors.parquet": stored.errors_file([stored.error(one, 7, "too Hot"), stored.error(one, 9, "never sent", number=1)]),
        ".dyff/exchanges/part-00000.parquet": stored.exchanges_file(
            [stored.exchange(one, 3, b'{"a": 1}', b"<html><script>alert(1)</script>")]
        ),
    }
    await stored.publish(world, f"outputs/{one}/", files)
    return made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def measurement(world, evaluation):
    first = specs.replication_id(evaluation["id"], 0)
    rows = [
        {"_index_": index, "_replication_": first, "correct": index % 2 == 0, "length": float(index)} for index in reversed(range(ITEMS))
    ]
    return await stored.measurement(world, evaluation, rows)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def api(world):
    async with world.client() as client:
        yield client


async def page(api, evaluation, **parameters):
    response = await api.get(f"/v0/evaluations/{evaluation['id']}/samples", params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


async def every(api, evaluation, **parameters):
    """All samples that fit, page by page."""
    found: list[Any] = []
    after: dict[str, str] = {}
    for _ in range(200):
        answer = await page(api, evaluation, **parameters, **after)
        found += answer["samples"]
        if answer["next"] is None:
            return found
        after = {"after": answer["next"]}
    raise AssertionError("the pages do not end")


def keys(samples):
    return [(each["index"], each["number"]) for each in samples]


async def test_a_page_has_items_with_what_became_of_them(api, evaluation, measurement):
    """The row of the dataset, with the columns of its path, all responses, the error, and the scores of the newest measurements."""
    answer = await page(api, evaluation, limit=3, after="7.0")
    first, second, _ = answer["samples"]
    assert keys(answer["samples"]) == [(7, 0), (7, 1), (8, 0)]
    assert stored.values(first["item"])["prompt"] == "What is 7?"
    assert first["responses"] is None
    assert stored.values(first["error"])["message"] == "too Hot"
    assert [stored.values(each)["text"] for each in second["responses"]] == ["It is 7.", "second"]
    assert second["error"] is None
    assert [(each["measurement"], stored.values(each["row"])) for each in first["scores"]] == [
        (measurement, {"correct": False, "length": 7.0})
    ]
    assert second["scores"] == []
    assert answer["measurements"] == [{"id": measurement, "name": "exact match", "columns": ["correct", "length"]}]
    (twelve,) = (await page(api, evaluation, index=12, replication="0"))["samples"]
    assert stored.values(twelve["item"]) == {"prompt": "What is 12?", "group": 0, "choices": None, "blob": None, "lang": "en"}


async def test_pages_together_are_all_samples_in_order(api, evaluation):
    """Each once, by index and replication, whatever the limit; an item of which only an error is known has its place."""
    expected = [(index, number) for index in range(ITEMS) for number in (0, 1) if (index, number) != (9, 0)]
    for limit in (7, 100):
        assert keys(await every(api, evaluation, limit=limit)) == expected


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"errors": "true"}, [(7, 0), (9, 1)]),
        ({"errors": "false", "index": 7}, [(7, 1)]),
        ({"index": 9}, [(9, 1)]),
        ({"index": 999}, []),
        ({"text": "WHAT IS 1?"}, [(1, 0), (1, 1)]),
        ({"text": "it is 3."}, [(3, 0), (3, 1)]),
        ({"text": "too hot"}, [(7, 0)]),
        ({"text": "never", "replication": "1"}, [(9, 1)]),
        ({"text": "it is 3.", "replication": "1"}, [(3, 1)]),
        ({"text": "a.c(["}, []),
        ({"score": "length", "min": "57"}, [(57, 0), (58, 0), (59, 0)]),
        ({"score": "length", "min": "57", "max": "58"}, [(57, 0), (58, 0)]),
        ({"score": "length", "value": "4"}, [(4, 0)]),
        ({"score": "correct", "value": "true", "text": "What is 5", "replication": "0"}, [(index, 0) for index in (50, 52, 54, 56, 58)]),
        ({"score": "no such column"}, []),
        ({"replication": "5"}, []),
    ],
)
async def test_filters(api, evaluation, measurement, asked, found):
    """All that are given must fit; text is searched in the item, the responses and the error, in upper and lower case."""
    assert keys(await every(api, evaluation, **asked)) == found


async def test_long_values_are_cut_and_have_an_address(api, evaluation):
    """A page has the first 2 KiB, never half a character; one sample has more; the address has all of it, as text that cannot run."""
    (sample,) = (await page(api, evaluation, index=5, replication=0))["samples"]
    cell = next(each for each in sample["item"] if each["name"] == "prompt")
    assert (cell["cut"], cell["bytes"], cell["value"]) == (True, 10_000, "é" * 1024)
    value = await api.get(cell["url"])
    assert value.text == LONG
    assert value.headers["content-type"] == "text/plain; charset=utf-8"
    assert value.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in value.headers["content-security-policy"]
    one = (await api.get(f"/v0/evaluations/{evaluation['id']}/samples/5?replication=0")).json()["samples"][0]
    assert next(each for each in one["item"] if each["name"] == "prompt")["value"] == LONG


async def test_a_long_value_of_json_is_cut_as_text(api, evaluation):
    """Of a list or an object that is too long, the cell has the beginning of its JSON; the address has all of it, as JSON."""
    (sample,) = (await page(api, evaluation, index=6, replication=0))["samples"]
    cell = next(each for each in sample["item"] if each["name"] == "choices")
    assert (cell["kind"], cell["cut"], len(cell["value"])) == ("json", True, 2048)
    value = await api.get(cell["url"])
    assert value.headers["content-type"] == "application/json"
    assert (len(value.content), value.json()) == (cell["bytes"], [{"answer": "x" * 100, "wrong": None}] * 30)
    assert value.text.startswith(cell["value"])


async def test_bytes_are_described_and_only_images_of_pixels_are_shown(api, evaluation):
    """Whatever is no PNG, JPEG, GIF or WebP is a download of unknown bytes: an SVG or a page could run scripts."""
    zero, one = (await page(api, evaluation, limit=3, replication=0))["samples"][:2]
    blob = next(each for each in one["item"] if each["name"] == "blob")
    assert (blob["kind"], blob["value"], blob["bytes"], blob["mediaType"]) == ("bytes", None, len(PNG), "image/png")
    image = await api.get(blob["url"])
    assert (image.content, image.headers["content-type"]) == (PNG, "image/png")
    drawing = next(each for each in zero["item"] if each["name"] == "blob")
    download = await api.get(drawing["url"])
    assert (download.content, download.headers["content-type"]) == (SVG, "application/octet-stream")
    assert download.headers["content-disposition"].startswith("attachment")


async def test_one_sample_has_its_exchanges(api, evaluation):
    """What was sent and what came back: as text if it is UTF-8, which nothing runs; a page has none."""
    three = (await api.get(f"/v0/evaluations/{evaluation['id']}/samples/3")).json()["samples"]
    assert [len(each["exchanges"]) for each in three] == [1, 0]
    cells = {each["name"]: each for each in three[0]["exchanges"][0]["row"]}
    page_of_html = "<html><script>alert(1)</script>"
    assert (cells["status"]["value"], cells["request"]["value"]) == (200, '{"a": 1}')
    assert (cells["answer"]["kind"], cells["answer"]["value"]) == ("text", page_of_html)
    path = f"/v0/evaluations/{evaluation['id']}/samples/3/value"
    whole = await api.get(path, params={"part": "exchange", "column": "answer", "replication": three[0]["replication"]})
    assert (whole.text, whole.headers["content-type"]) == (page_of_html, "text/plain; charset=utf-8")
    assert (await page(api, evaluation, index=3))["samples"][0]["exchanges"] is None


@pytest.mark.parametrize(
    ("path", "status", "names"),
    [
        ("?limit=0", 422, "limit"), ("?limit=101", 422, "limit"), ("?after=x", 422, "after"), ("?after=1", 422, "after"),
        ("?index=x", 422, "index"), ("?index=99999999999999999999", 422, "index"), ("?errors=yes", 422, "errors"), ("?text=", 422, "text"),
        ("?min=1", 422, "score"), ("?score=a&min=nan", 422, "min"), ("?score=a&max=x", 422, "max"),
        ("?measurements=x", 422, "measurements"),
        ("?colour=1", 422, "colour"), ("/x", 422, "index"), ("/1/value?part=house&column=a", 422, "part"),
        ("/1/value?part=item&column=a&number=-1", 422, "number"), ("/1/value?part=item&column=nothing", 404, "no such value"),
        ("/1/value?part=response&column=text&number=99&replication=x", 404, "no such value"),
        (f"?measurements={'0' * 12}4{'0' * 3}8{'0' * 15}", 404, "Measurement"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named(api, evaluation, path, status, names):
    """Each parameter has its bounds; the error names it."""
    response = await api.get(f"/v0/evaluations/{evaluation['id']}/samples{path}")
    assert (response.status_code, names in response.text) == (status, True), response.text


async def test_a_token_sees_what_it_may_read(world, evaluation, measurement):
    """Samples need `data` on the evaluation. Without it on the dataset, items are left out, which is said; so are scores."""

    def of(resource, entity, *functions):
        return grants.Grant((resource,), functions or ("get", "data"), (), (entity,))

    path = f"/v0/evaluations/{evaluation['id']}/samples"
    async with world.client(await world.token(of("evaluations", evaluation["id"], "get"))) as client:
        assert (await client.get(path)).status_code == 403
    async with world.client("") as client:
        assert (await client.get(path)).status_code == 401
    async with world.client(await world.token(of("evaluations", evaluation["id"]))) as client:
        answer = (await client.get(path)).json()
        assert answer["samples"][0]["item"] is None
        assert answer["samples"][0]["responses"] is not None
        assert answer["measurements"] == []
        assert [each["what"] for each in answer["missing"]] == ["item"]
        assert (await client.get(f"{path}/1/value?part=item&column=prompt")).status_code == 404
        assert (await client.get(path, params={"measurements": measurement})).status_code == 403
    both = await world.token(of("evaluations", evaluation["id"]), of("datasets", evaluation["dataset"]))
    async with world.client(both) as client:
        assert (await client.get(path)).json()["samples"][0]["item"] is not None


async def test_without_outputs_there_are_no_samples(world, api):
    """Before the outputs are verified it is a 409, and after a deletion; what a failed run completed is there for those who ask."""
    made = await stored.evaluation(world, {"a.parquet": stored.parquet([{"_index_": 1, "prompt": "x"}])})
    path = f"/v0/evaluations/{made['id']}/samples"
    assert (await api.get(path)).status_code == 409
    files = {"part-00000.parquet": stored.parquet([stored.output(made["id"], 1, "y")], stored.OUTPUTS)}
    await stored.publish(world, f"outputs/{made['id']}/", files, ".dyff/incomplete.json")
    assert (await api.get(path)).status_code == 409
    assert keys((await api.get(f"{path}?incomplete=true")).json()["samples"]) == [(1, 0)]
    await world.set_status(made["id"], "Deleted")
    assert (await api.get(f"{path}?incomplete=true")).status_code == 409


async def test_hostile_files_are_an_error_that_says_so(world, api):
    """Bytes that are no Parquet file, or one whose column is cut, end the request with a reason, and the next one is answered."""
    good = stored.parquet([{"_index_": index, "prompt": "x" * 300} for index in range(500)], compression="none")
    for bad in (b"PAR1 nothing", b"", good[:40] + b"\xff" * 4000 + good[4040:], good[:-8] + b"\xff\xff\xff\x7fPAR1"):
        made = await stored.evaluation(world, {"a.parquet": bad})
        outputs = {"part-00000.parquet": stored.parquet([stored.output(made["id"], 1, "y")], stored.OUTPUTS)}
        await stored.publish(world, f"outputs/{made['id']}/", outputs)
        response = await api.get(f"/v0/evaluations/{made['id']}/samples")
        assert (response.status_code, "samples cannot be shown" in response.text) == (409, True), (bad[:10], response.text)


async def test_few_bytes_that_are_many_cost_bounded_memory(world, api):
    """A file of some KiB can have rows of many MiB, since equal values are stored once: cells are cut all the same."""
    table = pa.table(
        {"_index_": pa.array(range(300)), "prompt": pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), ["x" * 5_000_000])}
    )
    made = await stored.evaluation(world, {"a.parquet": stored.parquet(table)})
    outputs = {"part-00000.parquet": stored.parquet([stored.output(made["id"], index, "y") for index in range(300)], stored.OUTPUTS)}
    await stored.publish(world, f"outputs/{made['id']}/", outputs)
    answer = (await api.get(f"/v0/evaluations/{made['id']}/samples?limit=100")).json()
    cells = [each["item"][0] for each in answer["samples"]]
    assert {(each["cut"], each["bytes"], len(each["value"])) for each in cells} == {(True, 5_000_000, 2048)}


async def test_a_page_ends_before_it_is_too_large(world, api):
    """Many wide rows make several pages, each with at least one sample."""
    wide = [{"_index_": index, **{f"c{number}": "x" * 2000 for number in range(900)}} for index in range(6)]
    made = await stored.evaluation(world, {"a.parquet": stored.parquet(wide)})
    outputs = {"part-00000.parquet": stored.parquet([stored.output(made["id"], index, "y") for index in range(6)], stored.OUTPUTS)}
    await stored.publish(world, f"outputs/{made['id']}/", outputs)
    answer = await page(api, made)
    assert 1 <= len(answer["samples"]) < 6
    assert len(json.dumps(answer)) < 8 * 2**20
    assert keys(await every(api, made)) == [(index, 0) for index in range(6)]


async def test_a_missing_file_is_not_the_end_of_the_program(tmp_path):
    """A file that was lost is a 500 that names it; the next request is answered by a new program."""
    async with opened(tmp_path) as world, world.client() as api:
        made = await stored.evaluation(world, {"a.parquet": stored.parquet([{"_index_": 1, "prompt": "x"}])})
        outputs = {"part-00000.parquet": stored.parquet([stored.output(made["id"], 1, "y")], stored.OUTPUTS)}
        await stored.publish(world, f"outputs/{made['id']}/", outputs)
        assert (await api.get(f"/v0/evaluations/{made['id']}/samples")).status_code == 200
        await world.services.objects.delete(f"outputs/{made['id']}/data/part-00000.parquet")
        response = await api.get(f"/v0/evaluations/{made['id']}/samples")
        assert (response.status_code, "part-00000.parquet" in response.text) == (500, True)
