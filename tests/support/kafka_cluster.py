"""Real Kafka brokers as processes: Apache Kafka in KRaft mode, from the jars of `make kafka-jars`.

Several brokers of one cluster can be killed and started again one by one.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stub does not export it

REPOSITORY: Final = Path(__file__).resolve().parents[2]
JARS: Final = Path(os.environ.get("KAFKA_JARS", REPOSITORY / ".kafka" / "jars"))
CLUSTER_ID: Final = "QUFBQUFBQUFBQUFBQUFBQQ"
START_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.1
HEAP: Final = "-Xmx256m"


class Broker:
    """One process, broker and controller at once."""

    def __init__(self, directory: Path, node: int, port: int, voters: str, brokers: int) -> None:
        self.directory = directory
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._properties = directory / "server.properties"
        controller = voters.split(",")[node - 1].rpartition(":")[2]
        replicas = min(brokers, 3)
        in_sync = min(brokers, 2)
        lines = {
            "process.roles": "broker,controller",
            "node.id": node,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": directory / "data",
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": replicas,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            # A killed broker is noticed soon.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "replica.lag.time.max.ms": 5000,
            "log.cleaner.enable": "false",
            "num.network.threads": 2,
            "num.io.threads": 2,
            "background.threads": 1,
        }
        directory.mkdir()
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties)).wait(
            60
        )

    def _java(self, *arguments: str) -> "subprocess.Popen[bytes]":
        java = shutil.which("java")
        assert java is not None, "the tests of Kafka need java"
        assert JARS.is_dir(), f"no {JARS}: run `make kafka-jars`"
        with (self.directory / "broker.log").open("ab") as log:
            return subprocess.Popen(
                [java, HEAP, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{JARS}/*", *arguments],
                cwd=self.directory,
                stdout=log,
                stderr=log,
            )

    def start(self) -> None:
        """Does not wait until it answers."""
        self._process = self._java("kafka.Kafka", str(self._properties))

    def kill9(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None


class KafkaCluster:
    """As a context manager it leaves no process behind."""

    def __init__(self, directory: Path, brokers: int = 1) -> None:
        with contextlib.ExitStack() as held:
            sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2 * brokers)]
            ports = [each.getsockname()[1] for each in sockets]
        voters = ",".join(f"{node}@127.0.0.1:{ports[brokers + node - 1]}" for node in range(1, brokers + 1))
        self.brokers = [
            Broker(directory / f"broker-{node}", node, ports[node - 1], voters, brokers)
            for node in range(1, brokers + 1)
        ]
        self.addresses = ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)

    def start(self) -> None:
        """Returns when all brokers answer."""
        for broker in self.brokers:
            broker.start()
        self.await_brokers(len(self.brokers))

    def await_brokers(self, count: int) -> None:
        admin = AdminClient({"bootstrap.servers": self.addresses, "log_level": 0})
        deadline = time.monotonic() + START_SECONDS_MAX
        found = 0
        while time.monotonic() < deadline:
            with contextlib.suppress(KafkaException):
                found = len(admin.list_topics(timeout=1.0).brokers)
                if found >= count:
                    return
            admin.poll(POLL_SECONDS)
        logs = "\n".join((broker.directory / "broker.log").read_text() for broker in self.brokers)
        raise AssertionError(f"{found} brokers after {START_SECONDS_MAX} s:\n{logs}")

    def await_replicas(self) -> None:
        """Returns when every broker is in sync for every partition of every topic."""
        admin = AdminClient({"bootstrap.servers": self.addresses, "log_level": 0})
        deadline = time.monotonic() + START_SECONDS_MAX
        behind: list[str] = []
        while time.monotonic() < deadline:
            with contextlib.suppress(KafkaException):
                topics = admin.list_topics(timeout=1.0).topics.values()
                partitions = [(topic.topic, each) for topic in topics for each in topic.partitions.values()]
                behind = [
                    f"{name}-{each.id}" for name, each in partitions if set(each.isrs) != set(each.replicas)
                ]
                if not behind:
                    return
            admin.poll(POLL_SECONDS)
        raise AssertionError(f"not in sync after {START_SECONDS_MAX} s: {behind}")

    def make_topic(self, name: str, partitions: int = 2, **config: str) -> str:
        """Replicated over all brokers; returns its name."""
        admin = AdminClient({"bootstrap.servers": self.addresses, "log_level": 0})
        replicas = len(self.brokers)
        in_sync = {"min.insync.replicas": str(min(replicas, 2)), "retention.ms": "-1"}
        settings = {**in_sync, **{key.replace("_", "."): value for key, value in config.items()}}
        made = admin.create_topics([NewTopic(name, partitions, replicas, config=settings)])
        made[name].result(30)
        return name

    def stop(self) -> None:
        for broker in self.brokers:
            broker.kill9()


@contextlib.contextmanager
def running_kafka(directory: Path, brokers: int = 1) -> Iterator[KafkaCluster]:
    cluster = KafkaCluster(directory, brokers)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
