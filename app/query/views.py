"""The views for queries, in DuckDB's SQL. Pure: names in, text out."""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from app.kinds import Kind

MACROS: Final = """
CREATE MACRO id_text(id BLOB) AS CAST(lower(hex(id)) AS UUID), (id UUID) AS id;
CREATE MACRO ms_time(ms BIGINT) AS make_timestamp_ms(ms),
  (time TIMESTAMPTZ) AS make_timestamp_ms(epoch_ms(time));
CREATE MACRO payload_text(payload BLOB) AS decode(payload), (payload VARCHAR) AS payload;
CREATE MACRO payload_bytes(payload BLOB) AS payload, (payload VARCHAR) AS encode(payload);
CREATE MACRO ip_text(address) AS CASE
  WHEN hex(address)[1:24] = '00000000000000000000FFFF' THEN
    concat_ws('.', CAST('0x' || hex(address)[25:26] AS INTEGER), CAST('0x' || hex(address)[27:28] AS INTEGER),
                   CAST('0x' || hex(address)[29:30] AS INTEGER), CAST('0x' || hex(address)[31:32] AS INTEGER))
  ELSE regexp_replace(lower(hex(address)), '(....)(....)(....)(....)(....)(....)(....)(....)',
                      '\\1:\\2:\\3:\\4:\\5:\\6:\\7:\\8')
END;
"""
"""Macros with several forms accept a column with or without an annotation."""

DATE_COLUMN: Final = "_date"
"""The column with the date of receipt in sources that know it for whole files; it allows skipping files."""

_DATE: Final = "CAST(ms_time(batch_timestamp) AS DATE)"

_HEAD: Final = """
  ms_time(timestamp) AS timestamp,
  ms_time(batch_timestamp) AS received_at,
  {date} AS date,
  workspace_id AS workspace,"""

_COLUMNS: Final = {
    Kind.EVENTS: (
        "event_type, event_name, id_text(device_id) AS device_id, id_text(session_id) AS session_id,"
    ),
    Kind.LOGS: "level, event_type, source, service, id_text(session_id) AS session_id,",
    Kind.SNAPSHOTS: "source, entity,",
}


class RowSource(NamedTuple):
    """Rows with the columns of one kind's files, of one type each.

    text: a table or a `read_parquet(…)` call. promoted: those of its columns that come after the payload.
    """

    text: str
    promoted: Collection[str] = ()


def within(source: str, since: str | None, until: str | None) -> str:
    """The rows of a source that were received from `since` to `until`, YYYY-MM-DD, both included."""
    bounds = [f"{_DATE} >= DATE '{since}'"] if since is not None else []
    bounds += [f"{_DATE} <= DATE '{until}'"] if until is not None else []
    return f"(SELECT * FROM {source} WHERE {' AND '.join(bounds)})" if bounds else source


def with_date(source: str) -> str:
    """A table with DATE_COLUMN added."""
    return f"(SELECT *, {_DATE} AS {DATE_COLUMN} FROM {source})"


def view(
    kind: Kind,
    sources: Sequence[RowSource],
    *,
    payload_is_json: bool,
    promoted: Sequence[str] = (),
    date: str = _DATE,
) -> str:
    """The rows of all sources, which may have different types of one column. date: of receipt."""
    parts = (_part(kind, source, payload_is_json, promoted, date) for source in sources)
    rows = "\nUNION ALL ".join(parts)
    return f"CREATE VIEW {kind.value} AS {rows};"


def _part(kind: Kind, source: RowSource, payload_is_json: bool, promoted: Sequence[str], date: str) -> str:
    payload = "CAST(payload_text(payload) AS JSON)" if payload_is_json else "payload_bytes(payload)"
    has = {name.lower() for name in source.promoted}
    more = "".join(f', "{name}"' if name.lower() in has else f', NULL AS "{name}"' for name in promoted)
    return (
        f"SELECT{_HEAD.format(date=date)}\n  {_COLUMNS[kind]}\n"
        f"  ip_text(source_ip) AS source_ip, {payload} AS payload{more}\nFROM {source.text}"
    )


def read_parquet(names: Sequence[str]) -> str:
    """A call that reads these files, which are alike, as one table."""
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    return f"read_parquet([{listed}], hive_partitioning = false)"
