"""`dyff serve` behind a real nginx, configured as docs/production.md shows, with a path that nginx keeps or removes."""

from __future__ import annotations

import hashlib
import json
import socket
import threading

import httpx
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from websockets.sync.client import connect

from dyff.sdk import Client as OurClient
from tests.acceptance import nginx
from tests.acceptance.conftest import Server, eventually
from tests.engines.ports import free_port

pytestmark = pytest.mark.acceptance

LARGE_BYTES = 12 * 2**20
"""Of an upload. nginx's own limit would be 1 MiB."""


@pytest.fixture(scope="module", params=["keeps", "removes"])
def server(request, tmp_path_factory):
    """A server that clients reach only below the path /dyff of nginx."""
    folder = tmp_path_factory.mktemp("nginx")
    port, behind = free_port(), free_port()
    file = folder / "dyff.yaml"
    file.write_text(json.dumps({"api": {"public_url": f"http://127.0.0.1:{port}/dyff", "trusted_proxies": ["127.0.0.1"]}}))
    configuration = nginx.documented(port, behind, removes_prefix=request.param == "removes")
    with nginx.running(folder / "nginx", configuration, port):
        subject = Server(folder / "data")
        subject.start("--config", str(file), "--port", str(behind))
        yield subject
        if subject.is_running:
            assert subject.stop() == 0


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An Arrow dataset of one large row, in a file with a name that has to be quoted."""
    folder = tmp_path_factory.mktemp("large")
    noise = b"".join(hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(LARGE_BYTES // 64))
    table = pa.table({"_index_": pa.array([0], pa.int64()), "text": [noise.hex()]})
    pyarrow.parquet.write_table(table, folder / "a b+c;ü=(1).parquet", compression="none")
    return folder


def test_the_server_is_where_the_message_says(server):
    """The address that it prints is the public one; the page and the description work below the path."""
    root = server.endpoint.removesuffix("/v0")
    assert root.endswith("/dyff")
    assert httpx.get(f"{root}/ready").status_code == 200
    assert "text/html" in httpx.get(f"{root}/v0/docs").headers["content-type"]
    assert httpx.get(f"{root}/v0/openapi.json").json()["servers"] == [{"url": "/dyff"}]


def test_a_client_of_http_1_0_needs_no_host(server):
    """As probes of load balancers send it: nginx adds the name that HTTP/1.1 needs."""
    port = int(server.endpoint.split(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, connection.makefile("rb") as answer:
        connection.sendall(b"GET /dyff/ready HTTP/1.0\r\n\r\n")
        assert answer.readline().split()[1] == b"200"


def test_the_published_client_uploads_and_reads(client, dataset, tmp_path):
    """Signed URLs lead through nginx, for PUT and for GET."""
    assert client.datasets.get(dataset.id).status == "Ready"
    client.datasets.download(dataset.id, tmp_path / "copy")
    assert pyarrow.dataset.dataset(tmp_path / "copy").count_rows() == 20


@pytest.mark.parametrize("name", ["large", "prompts"])
def test_our_client_uploads_and_reads(request, server, token, account, name, tmp_path):
    """Also a file that is larger than nginx would take by itself."""
    folder = request.getfixturevalue(name)
    with OurClient(api_token=token, endpoint=server.endpoint) as client:
        dataset = client.datasets.create_arrow_dataset(folder, account=account, name=name)
        client.datasets.upload_arrow_dataset(dataset, folder)
        client.datasets.download(dataset.id, tmp_path / "copy", progress=False)
    assert pyarrow.dataset.dataset(tmp_path / "copy").to_table().equals(pyarrow.dataset.dataset(folder).to_table())


def test_logs_are_streamed_over_a_websocket(server, client, token, account, dataset, service):
    """The upgrade passes, and messages arrive until the workflow has ended."""
    from dyff.schema import requests

    session = requests.EvaluationInferenceSessionRequest(inferenceService=service.id)
    created = client.evaluations.create(requests.EvaluationCreateRequest(account=account, dataset=dataset.id, inferenceSession=session))
    eventually(lambda: client.evaluations.get(created.id), "Complete")
    url = f"ws{server.endpoint.removeprefix('http')}/evaluations/{created.id}/logs/workflow/stream"
    with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        assert {"message", "timestamp"} <= json.loads(socket.recv(timeout=60)).keys()


def test_a_session_answers_through_the_proxies(server, token, account, service):
    """nginx, our own proxy of sessions, and the service behind it."""
    with OurClient(api_token=token, endpoint=server.endpoint) as client:
        made = client.inferencesessions.create({"account": account, "inferenceService": service.id})
        session = client.inferencesessions.wait(made.inferencesession.id, timeout_s=60, progress=False)
        interface = session.inferenceService.interface
        (row,) = client.inferencesessions.client(session.id, made.token, interface=interface).infer({"text": "hello"})
        assert row
        client.inferencesessions.terminate(session.id)


def test_a_stop_breaks_no_request(tmp_path):
    """While clients are busy, a stop makes nginx unable to connect, which it may repeat elsewhere; no request that was taken is lost."""
    port, behind = free_port(), free_port()
    configuration = nginx.documented(port, behind, removes_prefix=False).replace("location /dyff/", "location /")
    statuses: set[int] = set()
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            while not over.is_set():
                statuses.add(client.get("/health").status_code)

    with nginx.running(tmp_path / "nginx", configuration, port):
        subject = Server(tmp_path / "data")
        subject.start("--port", str(behind))
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for each in threads:
            each.start()
        while not statuses:
            over.wait(0.01)
        assert subject.stop() == 0
        over.set()
        for each in threads:
            each.join()
    assert statuses <= {200, 502}
    errors = [line for line in (tmp_path / "nginx" / "log").read_text().splitlines() if "upstream" in line]
    assert [line for line in errors if "Connection refused" not in line] == []


@pytest.fixture
def unnamed(tmp_path):
    """A server that knows its proxy and not its own public URL, behind nginx at the root of the host."""
    port, behind = free_port(), free_port()
    file = tmp_path / "dyff.yaml"
    file.write_text(json.dumps({"api": {"trusted_proxies": ["127.0.0.1"]}}))
    configuration = nginx.documented(port, behind, removes_prefix=False).replace("location /dyff/", "location /")
    with nginx.running(tmp_path / "nginx", configuration, port):
        subject = Server(tmp_path / "data")
        subject.start("--config", str(file), "--port", str(behind))
        yield subject, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{behind}"
        if subject.is_running:
            assert subject.stop() == 0


def test_a_client_cannot_say_which_url_it_used(unnamed, prompts):
    """nginx says it, and overwrites what the client said; signed URLs begin with nginx's address. Without nginx, with our own."""
    server, through, direct = unnamed
    account = server.command("account", "create", "--name", "me")
    token = server.command("token", "create", "--account", account, "--role", "Admin")
    with OurClient(api_token=token, endpoint=f"{through}/v0") as client:
        dataset = client.datasets.create_arrow_dataset(prompts, account=account, name="prompts")
        client.datasets.upload_arrow_dataset(dataset, prompts)
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.example;proto=https"}
    answer = httpx.get(f"{through}/v0/datasets/{dataset.id}/downlinks", headers={"Authorization": f"Bearer {token}", **forged})
    (link,) = answer.json()
    assert link["signedURL"]["url"].startswith(f"{through}/objects/")
    assert httpx.get(link["signedURL"]["url"]).status_code == 200
    answer = httpx.get(f"{direct}/v0/datasets/{dataset.id}/downlinks", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()[0]["signedURL"]["url"].startswith(f"{direct}/objects/")
