"""What is in the files, asked with DuckDB, against what was sent."""

from pathlib import Path
from typing import NamedTuple

import duckdb

NUMBER = "CAST(decode(payload)->>'$.number' AS BIGINT)"


class Found(NamedTuple):
    """rows, and how many distinct numbers they carry, the lowest and highest of them."""

    rows: int
    distinct: int
    lowest: int | None
    highest: int | None

    def complaint(self, sent: int) -> str | None:
        """Why these are not exactly the rows numbered 0 to sent - 1, each once; None when they are."""
        if self.rows == self.distinct == sent and (self.lowest, self.highest) == (0, sent - 1):
            return None
        return (
            f"{sent - self.distinct} rows are missing and {self.rows - self.distinct} are double "
            f"(numbers {self.lowest} to {self.highest})"
        )


def find_rows(connection: duckdb.DuckDBPyConnection, parquet: Path, kind: str) -> Found:
    query = f"""
        SELECT count(*), count(DISTINCT {NUMBER}), min({NUMBER}), max({NUMBER})
        FROM '{parquet}/*/*/{kind}*.parquet'
    """
    return Found(*connection.execute(query).fetchall()[0])


def count_carriers(connection: duckdb.DuckDBPyConnection, parquet: Path) -> dict[str, int]:
    query = f"""
        SELECT decode(payload)->>'$.carrier' AS carrier, count(*) AS flights
        FROM '{parquet}/*/*/events*.parquet' WHERE event_name = 'flight'
        GROUP BY carrier ORDER BY flights DESC, carrier
    """
    return dict(connection.execute(query).fetchall())
