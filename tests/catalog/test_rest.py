"""The catalog as a server of its own: Iceberg's REST protocol, spoken to the server of Iceberg's project."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyiceberg.catalog import load_catalog

from tests.support.catalog_service import NAMESPACE, wait_until_registered, with_catalog
from tests.support.payloads import event, numbers
from tests.support.rest_catalog import RestCatalogServer, running_rest_catalog
from tests.support.service import Service, running

ROUNDS = 8
SIZE = 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestCatalogServer]:
    with running_rest_catalog(tmp_path) as server:
        yield server


def node(directory: Path, name: str, uri: str, **catalog: str) -> Service:
    (own := directory / name).mkdir()
    config = {"server": {"node_id": name}, "catalog.properties": {"type": "rest", "uri": uri}}
    return Service(own, with_catalog(own, config, **catalog))


def work(node: Service, first: int) -> None:
    for start in range(first, first + ROUNDS * SIZE, SIZE):
        node.post_json("events", [event(number) for number in range(start, start + SIZE)])
        node.flush()


@pytest.mark.heavy
def test_two_nodes_share_a_rest_catalog_and_outlive_it(tmp_path: Path, server: RestCatalogServer) -> None:
    nodes = [node(tmp_path, "node-a", server.uri), node(tmp_path, "node-b", server.uri)]
    with running(nodes[0]), running(nodes[1]):
        for each in nodes:
            wait_until_registered(each)
        threads = [threading.Thread(target=work, args=(n, 1_000 * p)) for p, n in enumerate(nodes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.stop()
        work(nodes[0], 5_000)
        nodes[0].wait_until(lambda: nodes[0].status()["catalog"]["problem"] is not None, 30)
        server.start()
        for each in nodes:
            wait_until_registered(each)

    table = load_catalog("lake", type="rest", uri=server.uri).load_table((NAMESPACE, "events"))
    sent = [first + number for first in (0, 1_000, 5_000) for number in range(ROUNDS * SIZE)]
    assert sorted(numbers(table.scan().to_arrow())) == sent


def test_a_catalog_that_never_answers_holds_up_neither_publishing_nor_a_stop(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with running(node(tmp_path, "node-a", uri, stop_timeout="500ms")) as service:
            work(service, 0)
            assert sorted(numbers(service.table())) == list(range(ROUNDS * SIZE))
            connection, _ = listener.accept()
            with connection:
                assert service.terminate() == 0
            assert f"{ROUNDS} published files are not in the catalog yet" in service.stderr
