"""Upload, finalize and downlinks: only declared bytes count, and only what a manifest names is handed out."""

from __future__ import annotations

import httpx
import msgspec
import pytest

from dyff.objects import layout, manifests
from tests.entities import bodies
from tests.narrowing import sure

ROWS = bodies.ROWS


async def uploaded(api, plural, entity, path, data, **headers) -> httpx.Response:
    link = await api.get(f"/v0/{plural}/{entity}/upload/{path}")
    assert link.status_code == 200, link.text
    signed = link.json()
    assert signed["method"] == "PUT"
    return await api.put(signed["url"], content=data, headers={**signed["headers"], **headers, "Authorization": ""})


async def test_a_dataset_becomes_ready_by_upload_and_finalize(world, api):
    """Put to the signed URL, finalize, fetch by the downlinks: the same bytes, under the declared digest."""
    dataset = await world.dataset()
    assert (await uploaded(api, "datasets", dataset, "part-0.parquet", ROWS)).status_code == 200
    done = await api.post(f"/v0/datasets/{dataset}/finalize")
    assert (done.status_code, done.json()) == (200, {"status": "Ready"})
    assert (await api.get(f"/v0/datasets/{dataset}")).json()["status"] == "Ready"
    (link,) = (await api.get(f"/v0/datasets/{dataset}/downlinks")).json()
    assert link["artifact"] == {"kind": "parquet", "path": "part-0.parquet", "digest": {"md5": bodies.md5(ROWS)}}
    fetched = await api.get(link["signedURL"]["url"], headers=link["signedURL"]["headers"])
    assert (fetched.content, fetched.headers["content-length"]) == (ROWS, str(len(ROWS)))
    assert "content-encoding" not in fetched.headers


async def test_finalize_may_be_repeated(world, api):
    """A client that did not receive the first answer gets the same one, and the log has each status once."""
    dataset = await world.dataset()
    await uploaded(api, "datasets", dataset, "part-0.parquet", ROWS)
    for _ in range(2):
        assert (await api.post(f"/v0/datasets/{dataset}/finalize")).json() == {"status": "Ready"}
    changes = [each["data"]["attributes"] for each in await world.events() if each["command"] == "UpdateEntityStatus"]
    assert [(each["status"], each["reason"]) for each in changes] == [("WaitingForUpload", "Finalizing"), ("Ready", None)]


async def test_finalize_overwrites_no_manifest(world, api):
    """What a manifest says was checked once, and readers may have it: a later finalize does not change a byte of it."""
    dataset = await world.dataset()
    await uploaded(api, "datasets", dataset, "part-0.parquet", ROWS)
    key = layout.root("datasets", dataset) + layout.ARTIFACTS
    entry = {"path": "part-0.parquet", "size": len(ROWS), "digest": {"md5": bodies.md5(ROWS)}, "kind": "parquet"}
    earlier = msgspec.json.encode({"artifacts": [entry], "source": {"written": "by an earlier finalize that was cut off"}})
    await world.services.objects.put(key, earlier)
    assert (await api.post(f"/v0/datasets/{dataset}/finalize")).json() == {"status": "Ready"}
    assert await world.services.objects.get(key) == earlier


async def test_a_volume_model_is_uploaded_like_a_dataset(world, api):
    """Its files are declared with their sizes, which are checked too."""
    model = (await api.post("/v0/models", json=bodies.MODEL_UPLOAD)).json()
    assert model["status"] == "WaitingForUpload"
    assert (await uploaded(api, "models", model["id"], "config.json", b"{}")).status_code == 200
    assert (await api.post(f"/v0/models/{model['id']}/finalize")).json()["status"] == "Ready"
    assert [each["artifact"]["path"] for each in (await api.get(f"/v0/models/{model['id']}/downlinks")).json()] == ["config.json"]


async def test_a_model_that_is_not_uploaded_takes_no_files(world, api):
    """Its artifact may list files, and need not say their digests: it is a conflict, whatever its status, and no fault of the server."""
    for digest in ({}, {"md5": bodies.md5(b"{}")}):
        files = [{"path": "config.json", "size": 2, "digest": digest}]
        body = {**bodies.MODEL_MOCK, "artifact": {"kind": "Volume", "volume": {"files": files}}}
        created = await api.post("/v0/models", json=body)
        assert created.status_code == 201, created.text
        for status in ("Created", "Ready"):
            await world.set_status(created.json()["id"], status)
            for method, path in (("GET", "upload/config.json"), ("POST", "finalize")):
                answer = await api.request(method, f"/v0/models/{created.json()['id']}/{path}")
                assert answer.status_code == 409, answer.text


async def test_other_bytes_than_declared_are_not_stored(world, api):
    """A wrong digest is refused while it arrives, and finalize says what is missing."""
    dataset = await world.dataset()
    wrong = await uploaded(api, "datasets", dataset, "part-0.parquet", b"other")
    assert wrong.status_code == 409
    missing = await api.post(f"/v0/datasets/{dataset}/finalize")
    assert missing.status_code == 400
    assert "'part-0.parquet' missing" in missing.json()["detail"]
    assert (await api.get(f"/v0/datasets/{dataset}")).json()["status"] == "WaitingForUpload"


async def test_bytes_that_came_another_way_are_checked_at_finalize(world, api):
    """Also a store that did not check them cannot make wrong bytes count."""
    dataset = await world.dataset()
    await world.services.objects.put(f"datasets/{dataset}/part-0.parquet", b"other")
    refused = await api.post(f"/v0/datasets/{dataset}/finalize")
    assert refused.status_code == 409
    assert bodies.md5(b"other") in refused.json()["detail"]
    assert await world.services.objects.head(f"datasets/{dataset}/{layout.ARTIFACTS}") is None


async def test_a_store_that_knows_no_digests_is_read(tmp_path, world, api):
    """Where `head` has no digest, finalize computes it."""
    from dyff.api import app

    class Forgetful:
        def __init__(self, real):
            self._real = real

        def __getattr__(self, name):
            return getattr(self._real, name)

        async def head(self, key):
            info = await self._real.head(key)
            return None if info is None else msgspec.structs.replace(info, md5=None)

    dataset = await world.dataset()
    await uploaded(api, "datasets", dataset, "part-0.parquet", ROWS)
    world.app = app.build(msgspec.structs.replace(world.services, objects=Forgetful(world.services.objects)))
    async with world.client() as client:
        assert (await client.post(f"/v0/datasets/{dataset}/finalize")).json() == {"status": "Ready"}


async def test_uploads_are_open_only_while_waiting_for_them(world, api):
    """409 with the word that the published client looks for, after finalize and for what has nothing to upload."""
    dataset = await world.dataset()
    await uploaded(api, "datasets", dataset, "part-0.parquet", ROWS)
    await api.post(f"/v0/datasets/{dataset}/finalize")
    mock = (await api.post("/v0/models", json=bodies.MODEL_MOCK)).json()["id"]
    for method, path in [
        ("GET", f"datasets/{dataset}/upload/part-0.parquet"),
        ("GET", f"models/{mock}/upload/x"),
        ("POST", f"models/{mock}/finalize"),
    ]:
        response = await api.request(method, f"/v0/{path}")
        assert response.status_code == 409
        assert "WaitingForUpload" in response.json()["detail"]


async def test_only_declared_files_can_be_uploaded(world, api):
    """Another path is refused with the nearest declared one."""
    dataset = await world.dataset()
    for path, want in [("part-1.parquet", "did you mean 'part-0.parquet'?"), ("../x", ""), ("%2e%2e/%2e%2e/x", "none of the files")]:
        response = await api.get(f"/v0/datasets/{dataset}/upload/{path}")
        assert response.status_code in (400, 404)
        assert want in response.json()["detail"]


async def test_data_needs_its_own_grant(world, api):
    """`get` shows the entity, not its data; `create` opens uploads."""
    from dyff.accounts.grants import Grant

    dataset = await world.dataset()
    async with world.client(await world.token(Grant(("datasets",), ("get",), ("test",)))) as client:
        assert (await client.get(f"/v0/datasets/{dataset}/downlinks")).status_code == 403
        assert (await client.get(f"/v0/datasets/{dataset}/upload/part-0.parquet")).status_code == 403


async def test_an_evaluation_hands_out_what_its_manifest_names(world, api):
    """Raw outputs are never handed out, and before the manifest there is nothing."""
    evaluation = (await api.post("/v0/evaluations", json=await world.evaluation_body())).json()["id"]
    early = await api.get(f"/v0/evaluations/{evaluation}/downlinks")
    assert early.status_code == 409
    key = f"outputs/{evaluation}/verified/attempt/0.parquet"
    await world.services.objects.put(key, ROWS)
    entry = {"kind": "parquet", "path": "0.parquet", "key": key, "size": len(ROWS), "digest": {"md5": bodies.md5(ROWS)}}
    await world.services.objects.put(f"outputs/{evaluation}/{layout.ARTIFACTS}", msgspec.json.encode({"artifacts": [entry]}))
    (link,) = (await api.get(f"/v0/evaluations/{evaluation}/downlinks")).json()
    assert link["artifact"]["path"] == "0.parquet"
    assert (await api.get(link["signedURL"]["url"])).content == ROWS


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_bytes_that_the_manifest_does_not_list_are_not_served(world, api, method):
    """Also if another file was put in the place of the stored one, as by a copy of a damaged directory: the manifest's MD5 counts."""
    dataset = await world.dataset()
    await uploaded(api, "datasets", dataset, "part-0.parquet", ROWS)
    await api.post(f"/v0/datasets/{dataset}/finalize")
    (link,) = (await api.get(f"/v0/datasets/{dataset}/downlinks")).json()
    (artifact,) = (sure(await manifests.read(world.services.objects, layout.root("datasets", dataset)))).artifacts
    await world.services.objects.put(artifact.key, ROWS[:-7])
    refused = await api.request(method, link["signedURL"]["url"])
    assert refused.status_code == 500
    if method == "GET":
        assert artifact.key in refused.json()["detail"]
        assert "restore it from a backup" in refused.json()["detail"]


async def test_a_manifest_that_was_cut_is_an_error_that_names_it(world, api):
    """The answer says which object is damaged and what to do."""
    dataset = await world.dataset()
    await uploaded(api, "datasets", dataset, "part-0.parquet", ROWS)
    await api.post(f"/v0/datasets/{dataset}/finalize")
    key = layout.root("datasets", dataset) + layout.ARTIFACTS
    await world.services.objects.put(key, (await world.services.objects.get(key))[:-7])
    refused = await api.get(f"/v0/datasets/{dataset}/downlinks")
    assert (refused.status_code, key in refused.text, "restore it from a backup" in refused.text) == (500, True, True)


async def test_incomplete_outputs_are_handed_out_on_request_only(world, api):
    """What a failed run completed is served with ?incomplete=true; the usual answer is what it always was. All outputs come first."""
    evaluation = (await api.post("/v0/evaluations", json=await world.evaluation_body())).json()["id"]
    path = f"/v0/evaluations/{evaluation}/downlinks"
    assert (await api.get(path, params={"incomplete": "true"})).status_code == 409

    async def publish(name, at):
        key = f"outputs/{evaluation}/verified/{name}/0.parquet"
        await world.services.objects.put(key, ROWS)
        entry = {"path": name, "key": key, "size": len(ROWS), "digest": {"md5": bodies.md5(ROWS)}}
        await world.services.objects.put(f"outputs/{evaluation}/{at}", msgspec.json.encode({"artifacts": [entry], "incomplete": True}))

    async def served(**params):
        answer = await api.get(path, params=params)
        return answer.status_code if answer.is_error else [each["artifact"]["path"] for each in answer.json()]

    await publish("a.parquet", layout.INCOMPLETE)
    assert [await served(), await served(incomplete="false"), await served(incomplete="true")] == [409, 409, ["a.parquet"]]
    assert await served(incomplete="yes") == 422
    await publish("b.parquet", layout.ARTIFACTS)
    assert [await served(), await served(incomplete="true")] == [["b.parquet"], ["b.parquet"]]


@pytest.mark.parametrize(
    ("header", "want_status", "want_body", "want_range"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=3-", 206, b"3456789", "bytes 3-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=-20", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=5-100", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=5-4", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
    ],
)
async def test_ranges_make_downloads_resumable(world, api, header, want_status, want_body, want_range):
    """A range that is understood is served exactly; any other is ignored, as HTTP says."""
    await world.services.objects.put("datasets/x/y", b"0123456789")
    url = (await world.services.objects.sign("GET", "datasets/x/y")).url
    response = await api.get(url, headers={"Range": header})
    assert (response.status_code, response.content, response.headers.get("content-range")) == (want_status, want_body, want_range)


@pytest.mark.parametrize(
    ("condition", "want"),
    [
        (f'"{bodies.md5(b"0123456789")}"', (206, b"3456789")),
        (f'"{bodies.md5(b"another")}"', (200, b"0123456789")),
        (f'W/"{bodies.md5(b"0123456789")}"', (200, b"0123456789")),
        ("Wed, 21 Oct 2015 07:28:00 GMT", (200, b"0123456789")),
    ],
)
async def test_a_range_of_another_file_is_not_served(world, api, condition, want):
    """With `If-Range` a range is served only of the file with that tag; of any other the whole."""
    await world.services.objects.put("outputs/x/file", b"0123456789")
    url = (await world.services.objects.sign("GET", "outputs/x/file")).url
    whole = await api.get(url)
    assert whole.headers["etag"] == f'"{bodies.md5(b"0123456789")}"'
    assert (await api.head(url)).headers["etag"] == whole.headers["etag"]
    response = await api.get(url, headers={"Range": "bytes=3-", "If-Range": condition})
    assert (response.status_code, response.content) == want


TAG, OTHER = f'"{bodies.md5(b"0123456789")}"', f'"{bodies.md5(b"another")}"'
CONDITIONS = [
    ({"If-None-Match": TAG}, 304),
    ({"If-None-Match": f"W/{TAG}"}, 304),
    ({"If-None-Match": f'{OTHER}, "a,b" ,, W/"", {TAG}'}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": TAG, "Range": "bytes=3-"}, 304),
    ({"If-None-Match": TAG, "If-Modified-Since": "Wed, 21 Oct 2015 07:28:00 GMT"}, 304),
    ({"If-None-Match": OTHER}, 200),
    ({"If-None-Match": TAG.strip('"')}, 200),
    ({"If-None-Match": f"{TAG} x"}, 200),
    ({"If-None-Match": ""}, 200),
    ({"If-Modified-Since": "Wed, 21 Oct 2037 07:28:00 GMT"}, 200),
    ({"If-Match": TAG}, 200),
    ({"If-Match": "*"}, 200),
    ({"If-Match": OTHER}, 412),
    ({"If-Match": f"W/{TAG}"}, 412),
    ({"If-Match": OTHER, "If-None-Match": TAG}, 412),
]


@pytest.mark.parametrize(("headers", "want"), CONDITIONS, ids=str)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_file_that_the_client_has_is_not_sent_again(world, api, method, headers, want):
    """If-None-Match and If-Match compare with the digest; there is no date, so conditions with dates are ignored."""
    await world.services.objects.put("outputs/x/file", b"0123456789")
    url = (await world.services.objects.sign("GET", "outputs/x/file")).url
    response = await api.request(method, url, headers=headers)
    assert (response.status_code, response.headers["etag"]) == (want, TAG)
    assert response.content == (b"0123456789" if (want, method) == (200, "GET") else b"")
    assert want != 304 or not {"content-length", "content-type"} & set(response.headers)


async def test_a_condition_in_several_headers_is_one_list(world, api):
    """As HTTP says of every list."""
    await world.services.objects.put("outputs/x/file", b"0123456789")
    url = (await world.services.objects.sign("GET", "outputs/x/file")).url
    assert (await api.get(url, headers=[("If-None-Match", OTHER), ("If-None-Match", TAG)])).status_code == 304


async def test_what_has_arrived_need_not_be_sent_again(world, api):
    """The answer with the URL says whether the declared bytes are there; others do not count."""
    dataset = await world.dataset()
    route = f"/v0/datasets/{dataset}/upload/part-0.parquet"
    assert "dyff-uploaded" not in (await api.get(route)).headers
    await uploaded(api, "datasets", dataset, "part-0.parquet", b"other")
    assert "dyff-uploaded" not in (await api.get(route)).headers
    await uploaded(api, "datasets", dataset, "part-0.parquet", ROWS)
    assert (await api.get(route)).headers["dyff-uploaded"] == "true"


async def test_a_signed_url_allows_one_thing(world, api):
    """Another key, another method, more bytes or no signature are refused; HEAD has the size; an empty file is a file."""
    objects, key = world.services.objects, layout.staging("datasets", await world.dataset()) + "small"
    await objects.put("datasets/x/empty", b"")
    get = (await objects.sign("GET", "datasets/x/empty")).url
    assert (await api.get(get)).headers["content-length"] == "0"
    assert (await api.head(get)).headers["content-length"] == "0"
    assert (await api.put(get, content=b"x")).status_code == 403
    assert (await api.get(get.replace("empty", "other"))).status_code == 403
    assert (await api.get(get.partition("?")[0])).status_code == 403
    small = await objects.sign("PUT", key, limit_bytes=3)
    assert (await api.put(small.url, content=b"abcd")).status_code == 413

    async def pieces():
        for _ in range(4):
            yield b"ab"

    assert (await api.put(small.url, content=pieces())).status_code == 413
    assert await objects.head(key) is None
    bound = await objects.sign("PUT", key, md5=bodies.md5(b"abc"))
    assert (await api.put(bound.url, content=b"abc", headers={"Content-MD5": bodies.md5(b"abd")})).status_code == 409
    assert (await api.put(bound.url, content=b"abc")).status_code == 200
    missing = (await objects.sign("GET", "datasets/x/missing")).url
    assert (await api.get(missing)).status_code == 404


async def test_a_dataset_that_is_not_as_it_declares_stays_open(world, api):
    """Finalize says what is wrong, as often as it is asked, and nothing of it can be fetched."""
    csv = b"_index_,text\n1,a\n"
    artifact = {"path": "a.csv", "digest": {"md5": bodies.md5(csv)}}
    dataset = await world.dataset(artifacts=[artifact])
    assert (await uploaded(api, "datasets", dataset, "a.csv", csv)).status_code == 200
    for _ in range(2):
        refused = await api.post(f"/v0/datasets/{dataset}/finalize")
        assert refused.status_code == 400
        assert "'a.csv' is not a Parquet file" in refused.json()["detail"]
    assert (await api.get(f"/v0/datasets/{dataset}")).json()["status"] == "WaitingForUpload"
    assert (await uploaded(api, "datasets", dataset, "a.csv", csv)).status_code == 200
    assert await world.services.objects.head(f"datasets/{dataset}/{layout.ARTIFACTS}") is None
