"""Files that a question cannot concern, by workspace or date, are not opened."""

import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.kinds import Kind
from app.query.data_sets import data_set
from app.query.snapshot import SnapshotFile
from app.query.views import DATE_COLUMN, MACROS, RowSource, view, with_date
from app.schema import SCHEMAS

NOON_MS = int(datetime.datetime(2024, 1, 1, 12, tzinfo=datetime.UTC).timestamp() * 1000)
DAY_MS = 86_400_000


def rows(received_ms: int) -> pa.Table:
    row = {
        "timestamp": 0,
        "batch_timestamp": received_ms,
        "workspace_id": 1,
        "event_type": "track",
        "source_ip": bytes(16),
        "payload": b'{"a":1}',
    }
    return pa.Table.from_pylist([row], SCHEMAS[Kind.EVENTS])


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("workspace = 1 AND date = '2024-01-01'", 1),
        ("workspace = 1 AND date < '2024-01-02'", 1),
        ("workspace = 1 AND date BETWEEN '2023-12-01' AND '2024-01-01' AND payload->>'a' = '1'", 1),
        ("date >= '2024-01-03'", 1),
        ("workspace = 3", 0),
        ("workspace = 2 AND date >= '2024-01-02'", 0),
    ],
)
def test_a_question_opens_what_it_is_about(tmp_path: Path, where: str, found: int) -> None:
    """Of three files one is there: to open another would fail. The rows that are in none are of 3 January."""
    pq.write_table(rows(NOON_MS), tmp_path / "first.parquet")
    files = [
        SnapshotFile(str(tmp_path / f"{name}.parquet"), workspace, date)
        for name, workspace, date in (
            ("first", 1, "2024-01-01"),
            ("second", 1, "2024-01-02"),
            ("other", 2, "2024-01-01"),
        )
    ]
    with duckdb.connect() as connection:
        connection.execute(MACROS)
        connection.register("files", data_set(Kind.EVENTS, files, []))
        connection.register("tail", rows(NOON_MS + 2 * DAY_MS))
        connection.execute(
            view(
                Kind.EVENTS,
                [RowSource(with_date("tail")), RowSource("files")],
                payload_is_json=True,
                date=DATE_COLUMN,
            )
        )
        assert connection.execute(f"SELECT count(*) FROM events WHERE {where}").fetchall() == [(found,)]
        with pytest.raises(duckdb.Error, match="second"):
            connection.execute("SELECT max(timestamp) FROM events").fetchall()
