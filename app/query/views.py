"""The views that a question is asked of, in DuckDB's SQL. Pure: names in, text out."""

from collections.abc import Sequence
from typing import Final

from app.kinds import Kind

MACROS: Final = """
CREATE MACRO id_text(id) AS CAST(lower(hex(id)) AS UUID);
CREATE MACRO ip_text(address) AS CASE
  WHEN hex(address)[1:24] = '00000000000000000000FFFF' THEN
    concat_ws('.', CAST('0x' || hex(address)[25:26] AS INTEGER), CAST('0x' || hex(address)[27:28] AS INTEGER),
                   CAST('0x' || hex(address)[29:30] AS INTEGER), CAST('0x' || hex(address)[31:32] AS INTEGER))
  ELSE regexp_replace(lower(hex(address)), '(....)(....)(....)(....)(....)(....)(....)(....)',
                      '\\1:\\2:\\3:\\4:\\5:\\6:\\7:\\8')
END;
"""

DATE_COLUMN: Final = "_date"
"""The date of receipt in sources that know it of whole files; those are skipped by it."""

_DATE: Final = "CAST(make_timestamp_ms(batch_timestamp) AS DATE)"

_HEAD: Final = """
  make_timestamp_ms(timestamp) AS timestamp,
  make_timestamp_ms(batch_timestamp) AS received_at,
  {date} AS date,
  workspace_id AS workspace,"""

_COLUMNS: Final = {
    Kind.EVENTS: (
        "event_type, event_name, id_text(device_id) AS device_id, id_text(session_id) AS session_id,"
    ),
    Kind.LOGS: "level, event_type, source, service, id_text(session_id) AS session_id,",
    Kind.SNAPSHOTS: "source, entity,",
}


def with_date(source: str) -> str:
    """A source that has DATE_COLUMN, too."""
    return f"(SELECT *, {_DATE} AS {DATE_COLUMN} FROM {source})"


def view(
    kind: Kind,
    sources: Sequence[str],
    *,
    payload_is_json: bool,
    promoted: Sequence[str] = (),
    date: str = _DATE,
) -> str:
    """sources: tables or `read_parquet(…)` calls with the columns of the kind's files. date: of receipt."""
    payload = "CAST(decode(payload) AS JSON)" if payload_is_json else "payload"
    rows = " UNION ALL BY NAME ".join(f"SELECT * FROM {source}" for source in sources)
    more = "".join(f', "{name}"' for name in promoted)
    return (
        f"CREATE VIEW {kind.value} AS SELECT{_HEAD.format(date=date)}\n  {_COLUMNS[kind]}\n"
        f"  ip_text(source_ip) AS source_ip, {payload} AS payload{more}\nFROM ({rows});"
    )


def read_parquet(names: Sequence[str]) -> str:
    """A call that reads these files as one table."""
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
