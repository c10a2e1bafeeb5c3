"""`parquet-sink load`: files of all formats come to the service, each row once, whatever interrupts it."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from app.kinds import Kind
from tests.support.rows_of_flights import flights
from tests.support.service import KEYS, REPOSITORY, Service, running_service

ROWS: Final = 30_000

EVENTS: Final = [{"type": "track", "event": "loaded", "n": n} for n in range(5)]


def command(service: Service, workspace: int, *arguments: str) -> list[str]:
    where = ["--url", service.base_url, "--key", KEYS[workspace]]
    return [sys.executable, "-m", "app.cli", "load", *where, *arguments]


def load(
    service: Service, workspace: int, *arguments: object, code: int = 0, stdin: bytes | None = None
) -> dict[str, Any]:
    """The summary of a load that ends with this exit code."""
    done = subprocess.run(
        command(service, workspace, *map(str, arguments)),
        cwd=REPOSITORY,
        capture_output=True,
        input=stdin,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    assert b"Traceback" not in done.stderr, done.stderr
    found = json.loads(done.stdout) if done.stdout else {"error": done.stderr.decode()}
    assert isinstance(found, dict)
    return found


def payloads(service: Service, workspace: int, kind: Kind = Kind.EVENTS) -> list[dict[str, Any]]:
    service.flush(workspace)
    return [orjson.loads(each) for each in service.table(kind, workspace).column("payload").to_pylist()]


def as_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def as_csv(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink)
    return sink.getvalue().to_pybytes()


def as_parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=max(table.num_rows // 3, 1))
    return sink.getvalue().to_pybytes()


def as_arrow(table: pa.Table, new: Callable[..., Any]) -> bytes:
    sink = pa.BufferOutputStream()
    with new(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


_TABLE: Final = pa.Table.from_pylist(EVENTS)

FORMATS: Final = {
    "lines": as_lines(EVENTS),
    "lines without a last end": as_lines(EVENTS)[:-1],
    "lines with a mark, blank ones and CR": b"\xef\xbb\xbf" + as_lines(EVENTS).replace(b"\n", b"\r\n\r\n"),
    "an array": json.dumps(EVENTS).encode(),
    "an array over many lines": json.dumps(EVENTS, indent=2).encode(),
    "objects over many lines": b"".join(json.dumps(each, indent=2).encode() for each in EVENTS),
    "CSV": as_csv(_TABLE),
    "CSV with semicolons": as_csv(_TABLE).replace(b",", b";"),
    "Parquet": as_parquet(_TABLE),
    "an Arrow file": as_arrow(_TABLE, pa.ipc.new_file),
    "an Arrow stream": as_arrow(_TABLE, pa.ipc.new_stream),
    "lines, gzip": gzip.compress(as_lines(EVENTS)),
    "lines, two members of gzip": gzip.compress(as_lines(EVENTS[:2])) + gzip.compress(as_lines(EVENTS[2:])),
    "CSV, zstd": zstd(as_csv(_TABLE)),
    "Parquet, gzip": gzip.compress(as_parquet(_TABLE)),
    "an array, zstd": zstd(json.dumps(EVENTS).encode()),
}


@pytest.fixture(scope="module")
def workspace_of_formats(service: Service, tmp_path_factory: pytest.TempPathFactory) -> int:
    """Has each of FORMATS as a file, loaded by one pattern."""
    directory = tmp_path_factory.mktemp("formats")
    for number, (name, data) in enumerate(FORMATS.items()):
        marked = directory / f"{number:02}-{name.replace(' ', '-').replace(',', '')}.data"
        marked.write_bytes(data)
    workspace = 1_090
    found = load(service, workspace, directory / "*.data", "--parallel", 1)
    assert (found["files"], found["stored"]) == (len(FORMATS), len(FORMATS) * len(EVENTS))
    return workspace


def test_each_format_is_known_by_its_first_bytes(service: Service, workspace_of_formats: int) -> None:
    found = Counter(each["n"] for each in payloads(service, workspace_of_formats))
    assert found == {n: len(FORMATS) for n in range(len(EVENTS))}
    table = service.table(Kind.EVENTS, workspace_of_formats)
    assert set(table.column("event_name").to_pylist()) == {"loaded"}


@pytest.mark.parametrize("name", ["lines", "CSV", "Parquet", "an array, zstd"])
def test_standard_input_is_a_file_like_others(service: Service, workspace: int, name: str) -> None:
    for stored in (len(EVENTS), 0):
        found = load(service, workspace, "-", stdin=FORMATS[name])
        assert (found["stored"], found["stored_before"]) == (stored, len(EVENTS) - stored)
    assert sorted(each["n"] for each in payloads(service, workspace)) == list(range(len(EVENTS)))


def test_columns_are_mapped_and_values_keep_their_meaning(
    service: Service, workspace: int, tmp_path: Path
) -> None:
    for name, data in (("a.csv", as_csv(flights(3))), ("b.parquet", as_parquet(flights(3)))):
        file = tmp_path / name
        file.write_bytes(data)
        load(service, workspace, file, "--map", "timestamp=time_hour,user_id=tailnum", "--set", "source=nyc")
    service.flush(workspace)
    table = service.table(Kind.EVENTS, workspace).sort_by("timestamp")
    assert table.column("timestamp").to_pylist() == [1357016400000 + 60_000 * n for n in (0, 0, 1, 1, 2, 2)]
    assert set(table.column("event_name").to_pylist()) == {"a", "b"}  # of the files, for want of another
    for name in ("a", "b"):
        second = table.filter(pa.compute.equal(table.column("event_name"), name)).to_pylist()[1]
        payload = orjson.loads(second["payload"])
        assert payload == {
            "user_id": "N00001",
            "number": 1,
            "carrier": 'B "6"',
            "dep_delay": -19,
            "distance": 0.125,
            "source": "nyc",
        }


def test_published_files_can_be_loaded_as_they_are(service: Service, workspace: int, tmp_path: Path) -> None:
    row = {
        "message": "moved",
        "level": "error",
        "service": "api",
        "session_id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    }
    service.post_json(
        "logs", [{**row, "timestamp": 1_700_000_000_123, "data": {"deep": [1]}}], workspace=workspace
    )
    service.flush(workspace)
    (file,) = service.data_files(Kind.LOGS, workspace)
    load(service, workspace + 50, file, "--kind", "logs", "--map", "message=level")
    load(service, workspace + 51, file, "--kind", "logs", "--set", "message=moved")
    service.flush()
    (found,) = service.table(Kind.LOGS, workspace + 51).to_pylist()
    (sent,) = service.table(Kind.LOGS, workspace).to_pylist()
    for column in ("timestamp", "level", "service", "session_id"):
        assert found[column] == sent[column], column
    assert orjson.loads(found["payload"])["deep"] == [1]


def test_refused_rows_are_counted_by_reason_and_kept(
    service: Service, workspace: int, tmp_path: Path
) -> None:
    """Also those that the service does not name, and those that cannot be sent at all."""
    lines = [as_lines(EVENTS), b"{broken\n", b'{"type": "bad"}\n' * 150, b'{"type": "track", "event": "x"}\n']
    file, letters = tmp_path / "rows.ndjson", tmp_path / "letters.ndjson"
    file.write_bytes(b"".join(lines))
    found = load(service, workspace, file, "--dead-letter", letters, code=4)
    assert (found["stored"], found["refused"]) == (len(EVENTS) + 1, 151)
    assert [reason["rows"] for reason in found["reasons"]] == [150, 1]
    assert "row 7: type" in found["reasons"][0]["example"]
    kept = [json.loads(line) for line in letters.read_text().splitlines()]
    assert sorted(letter["row"] for letter in kept) == list(range(6, 157))
    assert {letter["line"] for letter in kept} == {"{broken", '{"type": "bad"}'}
    again = load(service, workspace, file, code=4)
    assert (again["stored"], again["stored_before"], again["refused"]) == (0, len(EVENTS) + 1, 151)

    table = tmp_path / "short.csv"
    table.write_text("event,n\na,1\nb\nc,3,4\nd,5\n")
    found = load(service, workspace, table, code=4)
    assert (found["stored"], found["refused"]) == (2, 2)
    assert "row 2: it has 1 fields" in found["reasons"][0]["example"]


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (b"event\nx\n", ("--map", "timestamp=when"), "there is no column when"),
        (b"event\nx\n", ("--map", "timestamp"), "NAME=MAP"),
        (b"a,a\n1,2\n", (), "each with a different name"),
        (b"event\n\xe9\n", (), "--encoding"),
        (b'[{"type": "track",', (), "not valid JSON"),
        (b"PAR1....", (), "arquet"),
        # Named, since gzip writes the time of day and all processes must name a test alike.
        pytest.param(gzip.compress(as_lines(EVENTS))[:-9], (), "data", id="half a gzip"),
        (b"event\nx\n", ("--url", "http://127.0.0.1:1", "--patience", "0"), "given up"),
        (b"event\nx\n", ("--url", "ftp://x"), "--url"),
        (b"event\nx\n", ("--key", "0" * 32), "401"),
    ],
)
def test_what_cannot_be_loaded_is_said(
    service: Service, tmp_path: Path, content: bytes, options: tuple[str, ...], said: str
) -> None:
    file = tmp_path / "file.data"
    file.write_bytes(content)
    done = subprocess.run(
        command(service, 1, str(file), *options),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (1, 2), done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_batches_that_are_too_large_for_the_service_are_halved(tmp_path: Path) -> None:
    config = {"server": {"max_body_size": "2KB", "max_rows_per_request": 7}}
    with running_service(tmp_path, config) as service:
        file = tmp_path / "rows.ndjson"
        long = {"type": "track", "event": "long", "text": "x" * 3000}
        file.write_bytes(as_lines([{"type": "track", "event": "e", "n": n} for n in range(100)] + [long]))
        found = load(service, 1, file, code=4)
        assert (found["stored"], found["refused"]) == (100, 1)
        assert load(service, 1, file, code=4)["stored_before"] == 100
        assert sorted(each["n"] for each in payloads(service, 1)) == list(range(100))


def test_a_load_waits_for_a_service_that_starts(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        service.terminate()
        loading = subprocess.Popen(
            command(service, 1, "-"),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert loading.stdin is not None
        loading.stdin.write(as_lines(EVENTS))
        loading.stdin.close()
        service.start()
        assert loading.wait(60) == 0
        assert loading.stdout is not None
        assert json.loads(loading.stdout.read())["stored"] == len(EVENTS)
        loading.stdout.close()
        assert loading.stderr is not None
        loading.stderr.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_three_interruptions_store_each_row_once(tmp_path: Path, form: str) -> None:
    """The service takes small batches, so that a load of so many rows can be caught in its middle."""
    data = as_csv(flights(ROWS)) if form == "csv" else as_parquet(flights(ROWS))
    file = tmp_path / f"flights.{form}"
    file.write_bytes(data)
    with running_service(tmp_path, {"server": {"max_rows_per_request": 400}}) as service:
        arguments = command(service, 1, str(file), "--map", "timestamp=time_hour", "--parallel", "2")
        stored = 0
        for _ in range(3):
            loading = subprocess.Popen(
                arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            before = accepted(service)
            service.wait_until(lambda: accepted(service) > before, 60)  # noqa: B023
            os.kill(loading.pid, signal.SIGINT)
            output, said = loading.communicate(timeout=60)
            assert loading.returncode == 130, (output, said)
            assert "Traceback" not in said, said
            found = json.loads(output)
            assert found["interrupted"] is True
            stored += found["stored"]
            assert accepted(service) < ROWS
        last = load(service, 1, str(file), "--map", "timestamp=time_hour", "--parallel", "2")
        assert (last["stored"] + last["stored_before"], last["interrupted"]) == (ROWS, False)
        numbers = sorted(each["number"] for each in payloads(service, 1))
        assert numbers == list(range(ROWS))


def accepted(service: Service) -> int:
    return sum(row["accepted"] for row in service.status()["rows"])
