"""Where files go, how they are named, compressed and cut; the columns in them."""

import datetime
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.kinds import Kind
from app.schema import SCHEMAS
from tests.support.payloads import ROW_OF, event, numbers, payloads
from tests.support.service import Service, running_service

NO_FLUSH = {"flush_interval": "3600s"}


@pytest.fixture
def configured(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service whose [sinks.parquet] is the test's parameter."""
    with running_service(tmp_path, {"sinks.parquet": {**NO_FLUSH, **request.param}}) as service:
        yield service


def received_at(path: Path) -> datetime.datetime:
    """The receive time of a file's first row, UTC."""
    ms = pq.read_table(path, partitioning=None)["batch_timestamp"][0].as_py()
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC)


def test_daily_files_stand_under_workspace_and_date(own_service: Service) -> None:
    for call, row in ROW_OF.items():
        own_service.post_json(call, [row(1)], workspace=2)
    own_service.flush()

    found = own_service.data_files()
    assert len(found) == 3
    for path in found:
        expected = f"2/{received_at(path):%Y-%m-%d}/{path.name}"
        assert path.relative_to(own_service.parquet).as_posix() == expected
    assert {path.name for path in found} == {"events.parquet", "logs.parquet", "snapshots.parquet"}


@pytest.mark.parametrize("configured", [{"rotation": "hourly"}], indirect=True)
def test_hourly_files_stand_one_folder_deeper(configured: Service) -> None:
    configured.post_json("events", [event(1)])
    configured.post_json("logs", [ROW_OF["logs"](1)])
    configured.flush()

    found = configured.data_files()
    assert len(found) == 2
    for path in found:
        expected = f"1/{received_at(path):%Y-%m-%d/%H}/{path.name}"
        assert path.relative_to(configured.parquet).as_posix() == expected
    assert {file["hour"] for file in configured.files()} == {received_at(found[0]).hour}


CODECS = {"snappy": "SNAPPY", "gzip": "GZIP", "lz4": "LZ4", "zstd": "ZSTD", "uncompressed": "UNCOMPRESSED"}


@pytest.mark.parametrize(
    "configured", [{"compression": name} for name in CODECS], indirect=True, ids=list(CODECS)
)
def test_every_compression_is_in_the_file_as_configured(configured: Service) -> None:
    rows = [event(number, filler="x" * 200) for number in range(500)]
    configured.post_json("events", rows)
    configured.flush()

    (path,) = configured.data_files()
    (listed,) = configured.files()
    metadata = pq.read_metadata(path)
    column = metadata.row_group(0).column(metadata.schema.names.index("payload"))
    assert column.compression == CODECS[listed["compression"]]
    assert f'compression = "{listed["compression"]}"' in configured._config_file.read_text()
    assert numbers(configured.table()) == list(range(500))


@pytest.mark.parametrize("configured", [{"max_file_size": "64KB"}], indirect=True)
def test_a_full_file_is_sealed_and_the_next_number_goes_on(configured: Service) -> None:
    sent = 0
    early: dict[str, bytes] = {}
    for _ in range(12):
        rows = [event(sent + i, noise=os.urandom(400).hex()) for i in range(20)]
        sent += len(rows)
        configured.post_json("events", rows)
        configured.flush()
        for path in configured.data_files()[:-1]:
            early.setdefault(path.name, path.read_bytes())

    names = [path.name for path in configured.data_files()]
    assert len(names) >= 3
    assert names == sorted(
        ["events.parquet", *(f"events-{number:04d}.parquet" for number in range(1, len(names)))]
    )
    by_path = {file["path"].rsplit("/", 1)[1]: file for file in configured.files()}
    assert sorted(by_path) == names
    assert [name for name in names if not by_path[name]["sealed"]] in ([], [last_name(names)])
    for path in configured.data_files():
        assert path.stat().st_size <= 64_000 * 1.05, f"{path.name} is larger than max_file_size"
    assert sorted(numbers(configured.table())) == list(range(sent))


def last_name(names: list[str]) -> str:
    return f"events-{len(names) - 1:04d}.parquet" if len(names) > 1 else "events.parquet"


@pytest.mark.parametrize("configured", [{"max_file_size": "64KB"}], indirect=True)
def test_a_sealed_file_never_changes_again_also_over_a_restart(configured: Service) -> None:
    def fill(first: int) -> None:
        rows = [event(first + i, noise=os.urandom(400).hex()) for i in range(100)]
        configured.post_json("events", rows, wait="file")

    fill(0)
    sealed = {
        file["path"]: (configured.parquet / file["path"]).stat().st_ino
        for file in configured.files()
        if file["sealed"]
    }
    assert sealed, "100 rows of 1 kB fill a file of 64 kB"

    configured.restart()
    fill(100)

    for path, inode in sealed.items():
        assert (configured.parquet / path).stat().st_ino == inode
    assert sorted(numbers(configured.table())) == list(range(200))


@pytest.mark.parametrize("kind", list(Kind))
def test_the_columns_are_those_of_the_contract_in_their_order(
    service: Service, workspace: int, kind: Kind
) -> None:
    service.post_json(kind.value, [ROW_OF[kind.value](1)], workspace=workspace, wait="file")

    (path,) = service.data_files(kind, workspace)
    assert pq.read_schema(path).remove_metadata() == SCHEMAS[kind]
    ids = {"device_id", "session_id", "source_ip"}
    for column in pq.ParquetFile(path).schema:
        if column.name in ids:
            assert (column.physical_type, column.length) == ("FIXED_LEN_BYTE_ARRAY", 16)
    assert pa.types.is_binary(pq.read_schema(path).field("payload").type)


def test_a_file_says_which_journal_range_it_holds(service: Service, workspace: int) -> None:
    service.post_json("events", [event(1)], workspace=workspace, wait="file")
    first = pq.read_metadata(service.data_files("events", workspace)[0]).metadata
    service.post_json("events", [event(2)], workspace=workspace, wait="file")
    second = pq.read_metadata(service.data_files("events", workspace)[0]).metadata

    own_keys = {key for key in second if not key.startswith(b"ARROW")}
    assert own_keys, "the key-value metadata names the range of sequence numbers"
    assert any(first.get(key) != second[key] for key in own_keys), "and each flush writes it anew"


@pytest.mark.parametrize("configured", [{"data_format": "binary"}], indirect=True)
def test_data_format_binary_keeps_what_comes_over_json_as_json(configured: Service) -> None:
    configured.post_json("events", [event(1, flat="kept")], wait="file")

    assert payloads(configured.table()) == [{"number": 1, "flat": "kept"}]
