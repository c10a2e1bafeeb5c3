"""Several nodes that write the same partitions of one bucket, and know nothing of each other."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.parquet.location import parse
from app.publish.rotation import WriterPolicy
from tests.parquet.bench import Bench
from tests.parquet.rows import all_timestamps, event_rows, published
from tests.support.bucket_service import BucketService
from tests.support.payloads import event, numbers
from tests.support.s3_server import S3Server
from tests.support.service import DidNotStart, running

BATCHES = 24
NODES = ("node-a", "node-b", "node-c")


def nodes_of(
    directory: Path, server: S3Server, ids: tuple[str, ...], config: dict[str, dict[str, object]]
) -> Iterator[BucketService]:
    prefix = None
    for place, name in enumerate(ids):
        (own := directory / str(place)).mkdir()
        sections = {**config, "server": {"node_id": name}}
        node = BucketService(own, sections, endpoint=server.endpoint, prefix=prefix)
        prefix = node.prefix
        yield node


def post_all(node: BucketService, first: int) -> None:
    """Batches of one row, some of them flushed at once."""
    for number in range(first, first + BATCHES):
        params = {"wait": "file"} if number % 4 == 0 else {}
        response = node.post("events", json.dumps([event(number)]), params=params)
        assert response.status_code == 202, response.text


def post_everywhere(nodes: list[BucketService]) -> list[int]:
    threads = [
        threading.Thread(target=post_all, args=(node, place * BATCHES)) for place, node in enumerate(nodes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for node in nodes:
        node.flush()
    return list(range(len(nodes) * BATCHES))


def test_nodes_share_partitions_and_each_lists_its_own_files(tmp_path: Path, s3_server: S3Server) -> None:
    nodes = list(nodes_of(tmp_path, s3_server, NODES, {}))
    with running(nodes[0]), running(nodes[1]), running(nodes[2]):
        sent = post_everywhere(nodes)
        in_bucket = [path.relative_to(nodes[0].parquet).as_posix() for path in nodes[0].data_files()]
        assert sorted(numbers(nodes[0].table())) == sent
        listings = [{file["path"] for file in node.files()} for node in nodes]
        assert sorted(in_bucket) == sorted(path for listing in listings for path in listing)
        for name, listing in zip(NODES, listings, strict=True):
            assert {location.node for path in listing if (location := parse(path))} == {name}
            assert all(re.search(rf"/events-{name}(-\d{{4}})?\.parquet$", path) for path in listing)
        assert len({location.partition for path in in_bucket if (location := parse(path))}) <= 2, (
            "or midnight"
        )
        for node in nodes:
            node.restart()
            assert not re.search("no commit knows it|are gone|are missing", node.stderr), node.stderr
        assert [{file["path"] for file in node.files()} for node in nodes] == listings
        assert sorted(numbers(nodes[0].table())) == sent


@pytest.mark.parametrize("conditional", [True, False])
def test_a_second_journal_does_not_write_where_the_first_does(
    tmp_path: Path, s3_server: S3Server, conditional: bool
) -> None:
    """A node that takes itself for another one, or that has lost its journal directory."""
    store = {"sinks.parquet.store": {"conditional_writes": conditional}}
    nodes = list(nodes_of(tmp_path, s3_server, ("twin", "twin"), store))
    with running(nodes[0]), nodes[1]:
        post_all(nodes[0], 0)
        nodes[0].flush()
        with pytest.raises(DidNotStart, match="parquet-sink adopt"):
            nodes[1].start()
        assert sorted(numbers(nodes[0].table())) == list(range(BATCHES))


def test_a_node_id_that_could_be_a_number_is_refused(tmp_path: Path, s3_server: S3Server) -> None:
    (node,) = nodes_of(tmp_path, s3_server, ("node-0001",), {})
    with node, pytest.raises(DidNotStart, match=r"server\.node_id: 'node-0001' cannot be part of file names"):
        node.start()


def test_a_node_id_stands_in_the_names_of_local_files_too(tmp_path: Path) -> None:
    """A file that was begun under another name grows on under that."""
    bench = Bench(tmp_path, policy=WriterPolicy(node="first"))
    bench.put(1, event_rows(0, 10))
    bench.flush()
    bench.manifest.close()
    bench.policy = WriterPolicy(node="second", max_file_bytes=8_000)
    bench.start()
    bench.put(2, event_rows(10, 10))
    bench.flush()
    assert published(bench.data) == {"7/2026-01-01/events-first.parquet": list(range(20))}

    bench.put(3, event_rows(20, 100))
    bench.flush()
    names = [path.rpartition("/")[2] for path in published(bench.data)]
    assert names[:2] == ["events-first.parquet", "events-second-0001.parquet"]
    assert all_timestamps(bench.data) == list(range(120))
    bench.manifest.close()
    assert bench.start().files.unknown == []
