"""Published files in Iceberg tables: exactly once, whatever happens, and never in the way of anything."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from app.catalog.expiry import expired
from app.kinds import Kind
from tests.support.bucket_service import BucketService
from tests.support.catalog_service import (
    CatalogService,
    Tables,
    wait_until_registered,
    with_catalog,
)
from tests.support.payloads import ROW_OF, numbers
from tests.support.s3_server import BUCKET, S3Server
from tests.support.service import Service, running


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path / "catalog")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running(CatalogService(tmp_path)) as service:
        yield service


def post(service: Service, first: int, count: int, kind: str = "events", workspace: int = 1) -> list[int]:
    rows = range(first, first + count)
    service.post_json(kind, [ROW_OF[kind](number) for number in rows], workspace=workspace)
    return list(rows)


def test_every_row_is_in_its_table_once(service: Service, tables: Tables) -> None:
    sent = {kind: [] for kind in Kind}
    for round_ in range(4):
        for place, kind in enumerate(Kind):
            sent[kind] += post(service, 10 * round_, 10, kind.value, workspace=1 + place % 2)
        service.flush()
    wait_until_registered(service)

    for kind in Kind:
        assert sorted(numbers(tables.rows(kind))) == sent[kind]
        assert len(tables.files(kind)) == len(set(tables.files(kind))) == 4
    listed = {file["path"] for file in service.files()}
    urls = {url for kind in Kind for url in tables.files(kind)}
    assert urls == {f"file://{service.parquet}/{path}" for path in listed}


def test_columns_are_those_of_the_files_but_for_the_sign(service: Service, tables: Tables) -> None:
    post(service, 0, 3)
    service.flush()
    wait_until_registered(service)

    rows = tables.rows()
    assert rows.schema.field("workspace_id").type == pa.int64()
    assert rows.schema.field("device_id").type == pa.binary(16)
    assert not rows.schema.field("payload").nullable
    (path,) = service.data_files("events")
    assert pa.parquet.read_schema(path).field("workspace_id").type == pa.int64()


def test_partitions_and_bounds_spare_readers_the_other_files(service: Service, tables: Tables) -> None:
    for workspace in (1, 2, 3):
        post(service, 100 * workspace, 10, workspace=workspace)
    service.flush()
    wait_until_registered(service)

    table = tables.load("events")
    assert [str(field.transform) for field in table.spec().fields] == ["identity", "truncate[86400000]"]
    assert len(list(table.scan(row_filter="workspace_id = 2").plan_files())) == 1
    earliest = min(table.scan().to_arrow()["timestamp"].to_pylist())
    narrow = table.scan(row_filter=f"timestamp < {earliest + 10}")
    assert len(list(narrow.plan_files())) == 1
    assert sorted(numbers(narrow.to_arrow())) == list(range(100, 110))
    assert narrow.to_arrow()["workspace_id"].to_pylist() == [1] * 10


def test_a_local_file_never_changes(service: Service, tables: Tables) -> None:
    post(service, 0, 5)
    service.flush()
    (first,) = service.data_files("events")
    before = first.read_bytes(), first.stat().st_ino

    post(service, 5, 5)
    service.flush()

    assert (first.read_bytes(), first.stat().st_ino) == before
    assert len(service.data_files("events")) == 2
    assert all(file["sealed"] for file in service.files())


def test_a_killed_service_registers_the_rest_and_nothing_twice(tmp_path: Path, tables: Tables) -> None:
    sent: list[int] = []
    with CatalogService(tmp_path) as service:
        for life in range(5):
            service.start()
            sent += post(service, 100 * life, 20)
            if life % 2:
                service.flush()
            service.kill9()
        service.start()
        service.flush()
        wait_until_registered(service)
        assert sorted(numbers(tables.rows())) == sent
        assert len(tables.files()) == len(set(tables.files()))
        before = tables.load("events").metadata_location
        service.restart()
        wait_until_registered(service)
        assert tables.load("events").metadata_location == before, "a start with nothing to do changes nothing"


def test_an_orderly_stop_registers_what_it_publishes_last(tmp_path: Path, tables: Tables) -> None:
    config = with_catalog(tmp_path, {"catalog": {"commit_interval": "1h"}})
    with running(Service(tmp_path, config)) as service:
        wait_until_registered(service)
        sent = post(service, 0, 20)

    assert sorted(numbers(tables.rows())) == sent


def test_without_a_catalog_rows_are_taken_and_published_and_registered_later(
    tmp_path: Path, tables: Tables
) -> None:
    in_the_way = tmp_path / "catalog"
    in_the_way.write_text("a file where the catalog's directory is to be")
    with CatalogService(tmp_path) as service:
        service.start()
        sent = post(service, 0, 20)
        service.flush()
        service.wait_until(lambda: service.status()["catalog"]["problem"] is not None, 10)
        status = service.status()["catalog"]
        assert status["lag"]["files"] == status["lag"]["commits"] == 1
        assert service.http.get("/ready").status_code == 200
        assert service.metrics()["parquet_sink_catalog_errors_total"] > 0
        assert service.metrics()["parquet_sink_catalog_lag_files"] == 1
        assert sorted(numbers(service.table())) == sent
        assert service.terminate() == 0
        assert "1 published files are not in the catalog yet" in service.stderr

        service.start()
        in_the_way.unlink()
        wait_until_registered(service)
        assert service.status()["catalog"]["problem"] is None
        assert sorted(numbers(tables.rows())) == sent
        assert service.metrics()["parquet_sink_catalog_lag_seconds"] == 0


def test_a_lost_catalog_is_made_again_from_the_files(tmp_path: Path, tables: Tables) -> None:
    """While the service runs, and while it does not."""
    with running(CatalogService(tmp_path)) as service:
        sent: list[int] = []
        for life in range(3):
            sent += post(service, 20 * life, 20)
            service.flush()
            wait_until_registered(service)
            assert sorted(numbers(tables.rows())) == sent
            if life == 1:
                assert service.terminate() == 0
            (tmp_path / "catalog").rename(tmp_path / f"lost-{life}")
            if life == 1:
                service.start()
                wait_until_registered(service)
                assert service.metrics()["parquet_sink_catalog_files_total"] == 2


def test_readers_see_whole_commits_and_no_row_twice(service: Service, tables: Tables) -> None:
    rounds, size = 12, 25
    wait_until_registered(service)
    done = threading.Event()

    def write() -> None:
        for round_ in range(rounds):
            post(service, size * round_, size)
            service.flush()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while not done.is_set():
        found = numbers(tables.rows())
        assert len(found) == len(set(found))
        assert len(found) % size == 0
        assert len(found) >= seen
        seen = len(found)
    writer.join()
    wait_until_registered(service)

    table = tables.load("events")
    counts = [len(numbers(tables.rows(snapshot=each.snapshot_id))) for each in table.snapshots()]
    assert counts == sorted(counts)
    assert counts[-1] == rounds * size
    assert all(count % size == 0 for count in counts)


def test_promoted_columns_come_into_the_table_and_stay_there(tmp_path: Path, tables: Tables) -> None:
    promoted = {"kind": "events", "path": "$.number", "name": "number", "type": "integer"}
    for life, config in enumerate(({}, {"[sinks.parquet.promote]": promoted}, {})):
        with running(CatalogService(tmp_path, config)) as service:
            post(service, 10 * life, 5)

    rows = tables.rows()
    values = dict(zip(numbers(rows), rows["number"].to_pylist(), strict=True))
    assert values == {
        n: n if 10 <= n < 15 else None for first in (0, 10, 20) for n in range(first, first + 5)
    }


def test_files_from_before_the_catalog_stay_what_they_are(tmp_path: Path, tables: Tables) -> None:
    """Their workspace ids have no sign, which Iceberg's readers refuse."""
    with running(Service(tmp_path)) as service:
        before = post(service, 0, 5)
        service.flush()
    (old,) = service.data_files("events")
    kept = old.read_bytes()
    with running(CatalogService(tmp_path)) as service:
        after = post(service, 5, 5)
        service.flush()
        wait_until_registered(service)
        assert sorted(numbers(tables.rows())) == after
        assert old.read_bytes() == kept
        files = [pa.parquet.read_table(path) for path in service.data_files("events")]
        assert sorted(number for file in files for number in numbers(file)) == before + after


def test_several_processes_of_a_node_have_one_registrar(tmp_path: Path, tables: Tables) -> None:
    with running(CatalogService(tmp_path, {"server": {"workers": 2}})) as service:
        sent = [number for first in range(0, 80, 20) for number in post(service, first, 20)]
        service.flush()
        wait_until_registered(service)
        assert service.metrics()["parquet_sink_catalog_files_total"] == len(tables.files())

    assert sorted(numbers(tables.rows())) == sent


def test_two_nodes_register_in_the_same_tables(tmp_path: Path, s3_server: S3Server) -> None:
    shared = tmp_path / "catalog"
    shared.mkdir()
    tables = Tables(shared, s3_server.endpoint)
    nodes: list[BucketService] = []
    for name in ("node-a", "node-b"):
        (own := tmp_path / name).mkdir()
        config = with_catalog(
            tmp_path, {"server": {"node_id": name}}, warehouse=f"s3://{BUCKET}/w{tmp_path.name}"
        )
        prefix = nodes[0].prefix if nodes else None
        nodes.append(BucketService(own, config, endpoint=s3_server.endpoint, prefix=prefix))
    rounds, size = 10, 20

    def work(node: Service, first: int) -> None:
        for round_ in range(rounds):
            post(node, first + size * round_, size)
            node.flush()

    with running(nodes[0]), running(nodes[1]):
        threads = [threading.Thread(target=work, args=(n, 10_000 * p)) for p, n in enumerate(nodes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for node in nodes:
            wait_until_registered(node)

    sent = [10_000 * place + number for place in range(2) for number in range(rounds * size)]
    assert sorted(numbers(tables.rows())) == sent
    writers = {each.summary["parquet-sink.node"] for each in tables.load("events").snapshots()}
    assert writers == {"node-a", "node-b"}


def test_snapshots_beyond_the_number_go_and_so_do_their_manifests(tmp_path: Path, tables: Tables) -> None:
    config = {"catalog": {"snapshots_max": 3}}
    sent: list[int] = []
    with running(CatalogService(tmp_path, config)) as service:
        for round_ in range(8):
            sent += post(service, 10 * round_, 10)
            service.flush()
            wait_until_registered(service)
        service.wait_until(lambda: len(tables.load("events").snapshots()) <= 4, 10)

    table = tables.load("events")
    assert sorted(numbers(tables.rows())) == sent
    for each in table.snapshots():
        assert len(tables.rows(snapshot=each.snapshot_id)) > 0
    metadata = tmp_path / "catalog" / "warehouse" / "parquet_sink" / "events" / "metadata"
    lists = {f"file://{path}" for path in metadata.glob("snap-*.avro")}
    assert lists == {each.manifest_list for each in table.snapshots()}


def test_which_snapshots_go() -> None:
    ages = [(1, 100), (2, 200), (3, 300), (4, 400)]

    assert expired(ages, 400, count=10, age_ms=1_000) == set()
    assert expired(ages, 400, count=2, age_ms=1_000) == {1, 2}
    assert expired(ages, 400, count=10, age_ms=150) == {1, 2}
    assert expired(ages, 9_000, count=10, age_ms=150) == {1, 2, 3}
    assert expired([], 400, count=1, age_ms=1) == set()


def test_a_promotion_whose_type_changes_gets_a_column_of_its_own(tmp_path: Path, tables: Tables) -> None:
    def promoted(type_: str) -> dict[str, dict[str, str]]:
        column = {"kind": "events", "path": "$.number", "name": "number", "type": type_}
        return {"[sinks.parquet.promote]": column}

    for life, type_ in enumerate(("integer", "double", "integer")):
        with running(CatalogService(tmp_path, promoted(type_))) as service:
            post(service, 10 * life, 5)
            service.flush()
            wait_until_registered(service)
            assert service.status()["catalog"]["left_out"] == []
    rows = tables.rows()
    assert {"number", "number_double"} <= set(rows.column_names)
    found = {
        n: (a, b) for n, a, b in zip(numbers(rows), *(rows[c].to_pylist() for c in COLUMNS), strict=True)
    }
    assert found == {
        **{n: (n, None) for n in (0, 1, 2, 3, 4, 20, 21, 22, 23, 24)},
        **{n: (None, float(n)) for n in range(10, 15)},
    }


COLUMNS = ("number", "number_double")


def test_a_file_that_does_not_fit_is_left_out_by_itself_and_is_in_it_once_it_fits(
    tmp_path: Path, tables: Tables
) -> None:
    with running(CatalogService(tmp_path)) as service:
        post(service, 0, 5)
        service.flush()
        wait_until_registered(service)
    with running(CatalogService(tmp_path, {"catalog": {"commit_interval": "1h"}})) as service:
        post(service, 10, 5)
        service.flush()
        (waiting,) = [path for path in service.data_files("events") if path not in service_paths(tables)]
        service.kill9()
    hidden = waiting.with_suffix(".hidden")
    waiting.rename(hidden)
    with running(CatalogService(tmp_path)) as service:
        post(service, 20, 5)
        post(service, 20, 5, "logs")
        service.flush()
        service.wait_until(lambda: sorted(numbers(tables.rows())) == [0, 1, 2, 3, 4, 20, 21, 22, 23, 24], 30)
        service.wait_until(lambda: len(numbers(tables.rows("logs"))) == 5, 30)
    for _ in range(2):
        if hidden.exists():
            hidden.rename(waiting)
        with running(CatalogService(tmp_path)) as service:
            wait_until_registered(service)
            service.wait_until(lambda: service.status()["catalog"]["left_out"] == [], 30)
            assert len(tables.files()) == len(set(tables.files()))


def service_paths(tables: Tables) -> set[Path]:
    return {Path(url.removeprefix("file://")) for url in tables.files()}
