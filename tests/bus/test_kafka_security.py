"""Kafka with TLS and passwords, on a broker of its own, by the settings that a person would write."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from dyff.bus import port
from dyff.kernel import clock, engines, errors, ids, settings
from dyff.serve import directory, opening
from tests import certificates as certificates_of_tests
from tests.conftest import missing
from tests.engines import building, server
from tests.engines.kafka.recipe import Kafka
from tests.engines.recipes import Place, Unavailable

pytestmark = pytest.mark.engines

USER, PASSWORD = "dyff", "right-and-long"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class SecureKafka(Kafka):
    """With a second listener, on which clients need TLS and a password."""

    ports = ("broker", "controller", "secure")
    format_options = tuple(
        each for name in MECHANISMS[1:] for each in ("--add-scram", f"{name}=[name={USER},password={PASSWORD}]")
    )  # fmt: skip

    def __init__(self, keystore: Path) -> None:
        self._keystore, self.secure = keystore, ""

    def settings(self, place: Place) -> str:
        """Of two lines with the same name the last counts."""
        ports, here = place.ports, "127.0.0.1"
        listeners = f"PLAINTEXT://{here}:{ports['broker']},CONTROLLER://{here}:{ports['controller']},SECURE://{here}:{ports['secure']}"
        module = "org.apache.kafka.common.security"
        listener = "listener.name.secure"
        more = [
            f"listeners={listeners}",
            f"advertised.listeners={listeners}",
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL",
            f"{listener}.sasl.enabled.mechanisms={','.join(MECHANISMS)}",
            f'{listener}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
            f"{listener}.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;",
            f"{listener}.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;",
            f"{listener}.ssl.keystore.type=PEM",
            f"{listener}.ssl.keystore.location={self._keystore}",
        ]
        return "\n".join([super().settings(place), *more, ""])

    def address(self, place: Place) -> str:
        """Of the first listener: the second is for those who know the password."""
        self.secure = f"127.0.0.1:{place.ports['secure']}"
        return super().address(place)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, with a certificate for 127.0.0.1, as a file for the broker, too; and another authority."""
    folder = certificates_of_tests.make(tmp_path_factory.mktemp("certificates"))
    (folder / "broker.pem").write_text((folder / "ours.key").read_text() + (folder / "ours.pem").read_text())
    (folder / "password").write_text(f"{PASSWORD}\n")
    (folder / "wrong").write_text("wrong\n")
    return folder


@pytest.fixture(scope="module")
def address(certificates, tmp_path_factory):
    """Of the listener with TLS."""
    recipe = SecureKafka(certificates / "broker.pem")
    try:
        built = building.build(recipe)
    except Unavailable as reason:
        missing(str(reason))
    with server.running(recipe, built, tmp_path_factory.mktemp("kafka") / "home"):
        yield recipe.secure


@pytest.fixture
def chosen(certificates, address):
    """Settings that are right."""
    return engines.Kafka(
        bootstrap_servers=address,
        tls=True,
        tls_ca_file=str(certificates / "ours.pem"),
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username=USER,
        sasl_password_file=str(certificates / "password"),
    )


@asynccontextmanager
async def opened(chosen: engines.Kafka, tmp_path):
    loaded = settings.Settings(bus=settings.Bus(kafka=chosen))
    async with opening.open_bus(loaded, directory.DataDirectory(tmp_path), clock.SystemClock(), ids.RandomIds()) as bus:
        yield bus


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_every_kind_of_client_shows_its_password_over_tls(chosen, tmp_path, mechanism):
    """Topics are made, records published, owned, read and consumed: each by a client of its own, all with password and TLS."""
    spec = port.TopicSpec(f"secured-{mechanism}", 1, compacted=False)
    async with opened(msgspec.structs.replace(chosen, sasl_mechanism=mechanism), tmp_path) as bus:
        await bus.create_topics([spec])
        await bus.publish(spec.name, [port.Message(b"a", b"1")])
        async with bus.own(f"owner-{mechanism}") as owner:
            await owner.append(spec.name, [port.Message(b"a", b"2")], port.Commit(f"group-{mechanism}", spec.name, 0, 1))
        assert await bus.committed(f"group-{mechanism}", spec.name) == {0: 1}
        async with bus.read(spec.name, 0, 0) as reader:
            found: list[port.Record] = []
            while len(found) < 2:
                found += await reader.poll(10, 1.0)
        assert [each.value for each in found] == [b"1", b"2"]
        async with bus.subscribe(f"other-{mechanism}", spec.name) as subscription:
            polled = await subscription.poll(10, 1.0)
            while not polled.assigned:
                polled = await subscription.poll(10, 1.0)


WRONG = {
    "a wrong password": ({"sasl_password_file": "wrong"}, errors.Blocked, "bus.kafka"),
    "a password file that is not there": ({"sasl_password_file": "absent"}, errors.Misconfigured, "bus.kafka.sasl_password_file"),
    "authorities that are not there": ({"tls_ca_file": "absent"}, errors.Misconfigured, "bus.kafka.tls_ca_file"),
    "another authority": ({"tls_ca_file": "other.pem"}, errors.Blocked, "certificate"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_cannot_work_is_reported_with_its_setting(chosen, certificates, tmp_path, case):
    """A client that cannot get in learns at the start what to look at, and never the password."""
    changes, error, words = WRONG[case]
    wrong = msgspec.structs.replace(chosen, **{name: str(certificates / value) for name, value in changes.items()})
    with pytest.raises(error, match=words) as refused:
        async with opened(wrong, tmp_path) as bus:
            await bus.topic("secured")
    assert PASSWORD not in str(refused.value)
    assert PASSWORD not in repr(vars(refused.value))


async def test_plain_text_at_a_door_for_tls_is_unavailable(chosen, tmp_path):
    """The broker says nothing that tells why."""
    with pytest.raises(errors.Unavailable):
        async with opened(msgspec.structs.replace(chosen, tls=False), tmp_path) as bus:
            await bus.topic("secured")
