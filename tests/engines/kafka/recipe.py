"""Apache Kafka, one node without ZooKeeper, from its jars."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from tests.engines.recipes import EngineError, Place, Recipe, run
from tests.narrowing import sure

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_OLDEST_JAVA = 17
_TOPIC = "dyff-engines-check"
_DEADLINE_S = 10


class Kafka(Recipe):
    name = "kafka"
    variable = "DYFF_TEST_KAFKA"
    adapters = ("bus:kafka",)
    folder = Path(__file__).parent
    ports: tuple[str, ...] = ("broker", "controller")
    programs = ("java",)
    build_programs = ("mvn",)
    format_options: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        found = re.search(r"<artifactId>kafka_[\d.]+</artifactId><version>(.+?)</version>", (self.folder / "pom.xml").read_text())
        return f"Apache Kafka {sure(found)[1]}"

    def lacking(self, built: bool) -> str | None:
        if reason := super().lacking(built):
            return f"{reason} (a Java {_OLDEST_JAVA} or later, and Maven to build)"
        try:
            version = re.search(r'version "(\d+)', run("java", "-version"))
        except EngineError as error:
            return str(error)
        return None if version and int(version[1]) >= _OLDEST_JAVA else f"Java is older than {_OLDEST_JAVA}"

    def build(self, target: Path) -> None:
        shutil.copy(self.folder / "pom.xml", target)
        run("mvn", "--batch-mode", "--quiet", "--strict-checksums", _COPY, "-DoutputDirectory=libs", cwd=target)

    def prepare(self, place: Place) -> None:
        (place.home / "server.properties").write_text(self.settings(place))
        cluster = run(*self._java(place), "kafka.tools.StorageTool", "random-uuid").split()[-1]
        command = [*self._java(place), "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", "server.properties"]
        run(*command, *self.format_options, cwd=place.home)

    def settings(self, place: Place) -> str:
        """The content of server.properties."""
        text = (self.folder / "server.properties").read_text()
        for name, value in {**place.ports, "data": place.home / "data"}.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def command(self, place: Place) -> list[str]:
        return [*self._java(place), "kafka.Kafka", "server.properties"]

    def address(self, place: Place) -> str:
        return f"127.0.0.1:{place.ports['broker']}"

    def check(self, address: str) -> None:
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that it is not there yet is no news
        asyncio.run(asyncio.wait_for(_produce_and_consume(address), _DEADLINE_S))

    def _java(self, place: Place) -> list[str]:
        options = ["-Xmx512m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"]
        return ["java", *options, "-cp", f"{place.built / 'libs'}/*"]


async def _produce_and_consume(address: str) -> None:
    """A record goes in with all acknowledgements and comes out, so the partition has a leader."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    try:
        await admin.start()
        try:
            answer = await admin.create_topics([NewTopic(_TOPIC, 1, 1)])
            if any(code not in (0, TopicAlreadyExistsError.errno) for _, code, *_ in answer.topic_errors):
                raise EngineError(f"no topic could be created: {answer.topic_errors}")
        except TopicAlreadyExistsError:
            pass
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=address, acks="all") as producer:
        sent = await producer.send_and_wait(_TOPIC, b"are you there?", partition=0)
    async with AIOKafkaConsumer(bootstrap_servers=address) as consumer:
        consumer.assign([TopicPartition(_TOPIC, 0)])
        consumer.seek(TopicPartition(_TOPIC, 0), sent.offset)
        if (await consumer.getone()).value != b"are you there?":
            raise EngineError("it gave back another record")
