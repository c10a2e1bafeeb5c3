"""POST /query: answers in four forms, limits, and that no SQL leads out of a workspace."""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.payloads import event, log_line
from tests.support.payloads import snapshot as snapshot_row
from tests.support.service import ADMIN_TOKEN, KEYS, REPOSITORY, Service, running_service

ROWS_MAX: Final = 500

CONFIG = {
    "sinks.parquet": {"flush_interval": "3600s"},
    "query": {"max_rows": ROWS_MAX, "max_memory": "128MB", "timeout": "8s", "max_concurrent": 3},
}

SECRET: Final = "neighbours-secret"
"""Stands in every row of workspace 2, and in no other."""

OWN_ROWS: Final = 3
NEIGHBOURS_ROWS: Final = 7919
"""A number that no answer has by chance."""


@pytest.fixture(scope="module")
def asked(service: Service) -> Service:
    """Workspace 1 and 2 have rows of each kind, in files and in none yet."""
    for half in (0, 1):
        service.post_json("events", [event(n, properties={"n": n}) for n in range(half, OWN_ROWS, 2)])
        rows = [event(n, event=SECRET, properties={"s": SECRET}) for n in range(half, NEIGHBOURS_ROWS, 2)]
        service.post_json("events", rows, workspace=2)
        service.post_json("logs", [log_line(half, message=SECRET, source=SECRET)], workspace=2)
        service.post_json("snapshots", [snapshot_row(half, entity=SECRET)], workspace=2)
        service.post_json("logs", [log_line(half)])
        if half == 0:
            service.flush()
    return service


def ask(service: Service, sql: str, workspace: int = 1, **arguments: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEYS[workspace]}", **arguments.pop("headers", {})}
    return service.http.post("/query", content=sql, headers=headers, **arguments)


def rows(service: Service, sql: str, workspace: int = 1, **arguments: Any) -> list[dict[str, Any]]:
    response = ask(service, sql, workspace, **arguments)
    assert response.status_code == 200, response.text
    found = response.json()
    assert isinstance(found, list)
    return found


def test_a_workspace_sees_its_rows_in_files_and_in_none_yet_and_no_others(asked: Service) -> None:
    assert rows(asked, "SELECT count(*) AS n FROM events") == [{"n": OWN_ROWS}]
    assert rows(asked, "SELECT count(*) AS n FROM events", 2) == [{"n": NEIGHBOURS_ROWS}]
    assert rows(asked, "SELECT count(*) AS n FROM logs") == [{"n": 2}]
    assert rows(asked, "SELECT count(*) AS n FROM snapshots") == [{"n": 0}]
    assert rows(asked, "SELECT count(*) AS n FROM snapshots", 3) == [{"n": 0}]


def test_the_admin_token_sees_all_workspaces_or_the_one_that_is_named(asked: Service) -> None:
    sql = "SELECT workspace, count(*) AS n FROM events GROUP BY ALL ORDER BY ALL"
    both = [{"workspace": 1, "n": OWN_ROWS}, {"workspace": 2, "n": NEIGHBOURS_ROWS}]
    assert asked.admin("POST", "/query", content=sql).json() == both
    one = asked.admin("POST", "/query", content=sql, params={"workspace_id": "2"})
    assert one.json() == both[1:]
    assert ask(asked, sql, params={"workspace_id": "2"}).status_code == 403
    assert rows(asked, sql, params={"since": "2099-01-01"}) == []
    assert asked.http.post("/query", content=sql).status_code == 401
    assert ask(asked, sql, headers={"Origin": "https://elsewhere.example"}).status_code == 403


def test_an_answer_comes_in_the_form_that_is_accepted(asked: Service) -> None:
    sql = "SELECT event_name, payload, payload->>'n' AS n FROM events ORDER BY timestamp"
    expected = [{"event_name": "page_view", "payload": {"n": n}, "n": str(n)} for n in range(OWN_ROWS)]

    def answered(accept: str) -> httpx.Response:
        return ask(asked, sql, headers={"Accept": accept})

    assert rows(asked, sql) == answered("text/html, application/json;q=0.9").json() == expected
    lines = answered("application/x-ndjson").text.splitlines()
    assert [json.loads(line) for line in lines] == expected
    table = answered("text/csv")
    assert table.text.splitlines()[:2] == ["event_name,payload,n", 'page_view,"{""n"": 0}",0']
    arrow = answered("application/vnd.apache.arrow.stream")
    assert pa.ipc.open_stream(arrow.content).read_all().column("n").to_pylist() == ["0", "1", "2"]
    assert arrow.headers["x-row-count"] == str(OWN_ROWS)
    assert ask(asked, sql, params={"format": "csv"}).text == table.text
    assert ask(asked, sql, params={"format": "xml"}).json()["error"] == "invalid_parameter"


def test_sql_comes_as_text_as_json_and_from_a_form(asked: Service) -> None:
    for body, content_type in (
        ("SELECT 1 AS one;", "text/plain"),
        ("SELECT 1 AS one", "application/x-www-form-urlencoded"),  # curl -d
        ("sql=SELECT+1+AS+one", "application/x-www-form-urlencoded"),
        ('{"sql": "SELECT 1 AS one"}', "application/json"),
        ('{"sql": "SELECT 1 AS one"}', "text/plain"),
    ):
        assert rows(asked, body, headers={"Content-Type": content_type}) == [{"one": 1}]
    for body in ("", "  ", "{}", '{"sql": 5}', '{"sql"'):
        assert ask(asked, body).json()["error"] == "no_sql"
    assert ask(asked, "SELECT 1 -- " + "x" * 40_000).status_code == 413


def test_every_type_of_value_has_a_form(asked: Service) -> None:
    values = (
        "1::DECIMAL(10, 2), INTERVAL 1 DAY, [1, 2], {'a': 'NaN'}, 'x'::BLOB, 1e308 * 10, 'nan'::DOUBLE, "
        "'infinity'::TIMESTAMP, now(), 3::UHUGEINT, uuid(), NULL, TIME '10:00', '{\"k\": [1]}'::JSON"
    )
    names = ", ".join(f"v{n}" for n in range(14))
    (found,) = rows(asked, f"SELECT * FROM (VALUES ({values})) AS t({names})")
    assert (found["v2"], found["v3"], found["v9"], found["v13"]) == ([1, 2], {"a": "NaN"}, 3, {"k": [1]})
    assert (found["v5"], found["v6"], found["v7"], found["v11"]) == (None, None, "infinity", None)
    for form in ("csv", "ndjson"):
        assert ask(asked, f"SELECT {values}", params={"format": form}).status_code == 200
    assert rows(asked, "SELECT 1 AS a, 2 AS a") == [{"a": 1, "a_1": 2}]
    assert rows(asked, "SELECT 1 AS n WHERE false") == []
    for sql in ("DESCRIBE events", "SHOW TABLES", "SUMMARIZE logs", "EXPLAIN FROM events", "FROM events"):
        assert rows(asked, sql), sql
    assert rows(asked, "PIVOT (SELECT event_name FROM events) ON event_name USING count(*)")


OUT_OF_REACH: Final = (
    # other workspaces by what is in scope
    "SELECT * FROM events WHERE workspace = 2",
    "SELECT * FROM events UNION ALL BY NAME SELECT * FROM snapshots UNION ALL BY NAME SELECT * FROM logs",
    "SELECT * FROM tail_events",
    "SELECT * FROM files_events",
    "SELECT * FROM tail_events, tail_logs, tail_snapshots",
    "SELECT * FROM query_table('files_logs')",
    "SELECT * FROM query('SELECT * FROM files_events')",
    "SELECT count(*) AS n FROM events RIGHT JOIN files_events ON true",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM events'))",
    "SUMMARIZE files_events",
    # files
    "SELECT * FROM '{parquet}/2/*/events.parquet'",
    "SELECT * FROM read_parquet('{parquet}/**/*.parquet')",
    "SELECT * FROM parquet_metadata('{parquet}/2/*/events.parquet')",
    "SELECT * FROM parquet_schema('{parquet}/2/*/*.parquet')",
    "SELECT * FROM read_blob('{journal}/**')",
    "SELECT * FROM read_text('{directory}/api-keys.txt')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_csv('/proc/self/maps', delim = '|', columns = {{'c': 'VARCHAR'}})",
    "SELECT * FROM read_json('{directory}/parquet-sink.toml')",
    "SELECT * FROM glob('{parquet}/**')",
    "SELECT * FROM glob('/proc/self/fd/*')",
    "SELECT * FROM read_parquet('/proc/self/fd/9')",
    "SELECT * FROM sniff_csv('{directory}/api-keys.txt')",
    # network and extensions
    "SELECT * FROM read_parquet('http://127.0.0.1:{port}/files?token={neighbour}')",
    "SELECT * FROM read_text('s3://bucket/key')",
    "INSTALL httpfs",
    "LOAD httpfs",
    "FORCE INSTALL json FROM community",
    # writing
    "COPY (SELECT 1) TO '{parquet}/2/planted.parquet'",
    "COPY events TO '{parquet}/1/planted.csv'",
    "COPY events FROM '{directory}/api-keys.txt'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{parquet}/planted.csv'",
    "EXPORT DATABASE '{directory}/planted'",
    "IMPORT DATABASE '{directory}'",
    "CREATE TABLE planted AS SELECT 1",
    "DROP VIEW events",
    "CREATE OR REPLACE VIEW events AS SELECT 1",
    "INSERT INTO tail_events SELECT * FROM tail_events",
    "DELETE FROM tail_events",
    "CHECKPOINT",
    # databases, settings, secrets
    "ATTACH '{directory}/planted.db'",
    "ATTACH '{journal}/manifest' AS other (READ_ONLY)",
    "USE memory",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET enable_external_access",
    "PRAGMA enable_logging",
    "PRAGMA database_list",
    "CALL enable_logging()",
    "SELECT * FROM pragma_database_size()",
    "SELECT * FROM duckdb_settings()",
    "SELECT current_setting('allowed_paths'), current_setting('secret_directory')",
    "SELECT * FROM duckdb_secrets()",
    "CREATE SECRET planted (TYPE s3)",
    "SELECT getenv('PARQUET_SINK__AUTH__ADMIN_TOKEN')",
    "SELECT * FROM duckdb_views() UNION ALL BY NAME SELECT * FROM duckdb_tables()",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM duckdb_logs() UNION ALL BY NAME SELECT * FROM duckdb_temporary_files()",
    # several statements, prepared statements
    "SELECT 1; SELECT * FROM files_events",
    "PREPARE p AS SELECT * FROM files_events; EXECUTE p",
    "BEGIN; CREATE TABLE planted (i INT); COMMIT",
    # Python's variables, which DuckDB looks for in a process of Python's
    "SELECT * FROM job",
    "SELECT * FROM snapshot",
    "SELECT * FROM frames",
    # exhaustion
    "SELECT repeat('x', 2000000000)",
    "SELECT array_agg(a) FROM range(1000000000) AS t(a)",
    "SELECT * FROM range(1000000000000)",
    "WITH RECURSIVE r AS (SELECT repeat('x', 1000000) AS x UNION ALL SELECT x || x FROM r) FROM r",
    "SELECT " + "(" * 5000 + "1" + ")" * 5000,
    "SELECT regexp_matches(repeat('a', 100000), '(a|aa)+$')",
)


@pytest.mark.timeout(300)
def test_no_sql_leads_out_of_a_workspace(asked: Service) -> None:
    """None shows a row, a file name or a count of the neighbour's, none writes, none harms the service."""
    before = everything_below(asked.directory)
    names = {
        "parquet": asked.parquet,
        "journal": asked.journal,
        "directory": asked.directory,
        "port": asked.port,
        "neighbour": KEYS[2],
    }
    filled = [sql.format(**names) for sql in OUT_OF_REACH]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda sql: ask(asked, sql, timeout=60), filled))
    for sql, answer in zip(filled, answers, strict=True):
        assert answer.status_code in (200, 400, 422), (sql, answer.text)
        said = answer.text
        for secret in (SECRET, str(NEIGHBOURS_ROWS), KEYS[1], KEYS[2]):
            # An error repeats the question.
            assert secret not in said or secret in sql, (sql, said[:500])
        if answer.status_code == 200:
            assert "events.parquet" not in said, sql
            assert str(asked.directory) not in said, sql
    assert everything_below(asked.directory) == before
    assert asked.http.get("/ready").status_code == 200
    assert rows(asked, "SELECT count(*) AS n FROM events", 2) == [{"n": NEIGHBOURS_ROWS}]


def everything_below(directory: Path) -> dict[str, int]:
    """Sizes, without the log and what the journal marks as seen."""
    return {
        str(path): path.stat().st_size
        for path in directory.rglob("*")
        if path.is_file() and path.name != "stderr.txt" and "journal" not in path.parts
    }


def test_limits_are_told_and_bound_what_a_question_costs(asked: Service) -> None:
    def refused(sql: str) -> tuple[int, str]:
        answer = ask(asked, sql)
        return answer.status_code, answer.json()["error"]

    assert len(rows(asked, f"SELECT * FROM range({ROWS_MAX})")) == ROWS_MAX
    assert refused(f"SELECT * FROM range({ROWS_MAX + 1})") == (422, "answer_too_large")
    assert refused("SELECT array_agg(a) FROM range(1000000000) AS t(a)") == (422, "query_memory")
    assert refused("SELEC") == (400, "query_failed")
    assert refused("SELECT nothing FROM events") == (400, "query_failed")
    assert refused("SELECT 1; SELECT 2") == (400, "not_a_question")


ENDLESS: Final = "SELECT count(*) FROM range(1000000000000) WHERE hash(range) = 7"


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Answers one question at a time, lets none wait, and stops each after some seconds."""
    config = {"query": {"timeout": "3s", "max_concurrent": 1, "max_waiting": 0}}
    with running_service(tmp_path_factory.mktemp("impatient"), config) as service:
        yield service


def priorities(service: Service) -> dict[str, str]:
    """Of the processes of questions, by their ids."""
    children = subprocess.run(
        ["ps", "--ppid", str(service.process.pid), "-o", "pid=,ni=,args="],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    found = [line.split() for line in children if "question_process" in line]
    return {pid: nice for pid, nice, *_ in found}


def test_a_question_that_takes_too_long_is_stopped_and_others_are_refused_meanwhile(
    impatient: Service,
) -> None:
    with ThreadPoolExecutor(1) as pool:
        endless = pool.submit(ask, impatient, ENDLESS)
        impatient.wait_until(lambda: bool(priorities(impatient)), 10)
        busy = ask(impatient, "SELECT 1")
        assert (busy.status_code, busy.json()["error"]) == (503, "too_many_queries")
        assert int(busy.headers["retry-after"]) > 0
        assert impatient.post("events", json.dumps([event(1)])).status_code == 202
        stopped = endless.result()
    assert (stopped.status_code, stopped.json()["error"]) == (422, "query_timeout")
    assert rows(impatient, "SELECT count(*) AS n FROM events") == [{"n": 1}]


def test_a_question_ends_when_its_client_leaves_and_has_a_low_priority(tmp_path: Path) -> None:
    with running_service(tmp_path, {"query": {"timeout": "100s", "nice": 12}}) as service:
        request = (
            f"POST /query HTTP/1.1\r\nHost: localhost:{service.port}\r\nX-API-Key: {KEYS[1]}\r\n"
            f"Content-Length: {len(ENDLESS)}\r\n\r\n{ENDLESS}"
        )
        with contextlib.closing(socket.create_connection(("127.0.0.1", service.port))) as client:
            client.sendall(request.encode())
            service.wait_until(lambda: "12" in priorities(service).values(), 60)
            asked = [pid for pid, nice in priorities(service).items() if nice == "12"]
        # Beside the one that works there may be one that is ready for the next question.
        service.wait_until(lambda: any(pid not in priorities(service) for pid in asked), 60)


def run_query(
    service: Service, *arguments: str, stdin: str = "", from_file: bool = False
) -> "subprocess.CompletedProcess[str]":
    where = (
        ["--config", str(service.directory / "parquet-sink.toml")]
        if from_file
        else ["--url", service.base_url, "--key", KEYS[1]]
    )
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "query", *arguments, *where],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        input=stdin,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("from_file", [False, True])
def test_the_command_asks_a_service_or_a_directory_alike(
    asked: Service, tmp_path: Path, from_file: bool
) -> None:
    sql = "SELECT payload, payload->>'n' AS n FROM events WHERE workspace = 1 ORDER BY timestamp"

    def asks(*arguments: str, stdin: str = "") -> str:
        done = run_query(asked, *arguments, stdin=stdin, from_file=from_file)
        assert done.returncode == 0, done.stderr
        return done.stdout

    expected = [{"payload": {"n": n}, "n": str(n)} for n in range(OWN_ROWS)]
    assert json.loads(asks(sql, "--format", "json")) == expected
    assert [json.loads(line) for line in asks("-", "--format", "ndjson", stdin=sql).splitlines()] == expected
    assert asks(sql, "--format", "csv").splitlines()[1] == '"{""n"": 0}",0'
    assert '{"n": 2}' in asks(sql)
    for form in ("parquet", "arrow"):
        asks(sql, "--format", form, "--output", str(tmp_path / form))
    assert pq.read_table(tmp_path / "parquet").column("n").to_pylist() == ["0", "1", "2"]
    with pa.OSFile(str(tmp_path / "arrow")) as file:
        assert pa.ipc.open_stream(file).read_all().num_rows == OWN_ROWS
    wrong = run_query(asked, "SELECT nothing FROM events", from_file=from_file)
    assert (wrong.returncode, "nothing" in wrong.stderr) == (1, True)


def test_a_shell_answers_question_after_question(asked: Service) -> None:
    typed = ".tables\n.format csv\nSELECT count(*) AS n\n  FROM events;\nSELEC;\nSELECT 7 AS last"
    done = run_query(asked, "-i", stdin=typed)
    assert done.returncode == 0
    assert "device_id" in done.stdout
    assert done.stdout.endswith(f"n\n{OWN_ROWS}\nlast\n7\n")
    assert "syntax error" in done.stderr
    assert run_query(asked).returncode == 2


def test_the_other_commands_show_what_the_service_holds(asked: Service) -> None:
    def said(*arguments: str) -> str:
        where = ["--url", asked.base_url, "--token", ADMIN_TOKEN]
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments, *where],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert json.loads(said("flush", "--json"))["flushed_rows"] > 0
    listed = json.loads(said("files", "--json"))
    assert {file["path"] for file in listed} == {file["path"] for file in asked.files()}
    newest = max(file["updated_at"] for file in listed)
    assert json.loads(said("files", "--json", "--updated-since", newest))
    assert json.loads(said("files", "--json", "--updated-since", "2099-01-01T00:00:00Z")) == []
    assert "2/" in said("files", "--kind", "logs", "--limit", "1000")
    assert json.loads(said("status", "--json")) == asked.status()
    assert f"{NEIGHBOURS_ROWS:,}" in said("status")
    assert "0 rows written" in said("flush")


@pytest.mark.parametrize(("section", "reason"), [({"enabled": False}, "query.enabled")])
def test_where_it_is_switched_off_the_answer_says_why(
    tmp_path: Path, section: dict[str, Any], reason: str
) -> None:
    with running_service(tmp_path, {"query": section}) as service:
        answer = ask(service, "SELECT 1")
        assert answer.status_code == 404
        assert reason in answer.json()["message"]
