"""A table like that of the flights of a year, small enough to be made in a test."""

import datetime
from typing import Final

import pyarrow as pa

COLUMNS: Final = ("number", "carrier", "tailnum", "dep_delay", "distance", "time_hour")


def flights(rows: int) -> pa.Table:
    """`number` tells the rows apart; texts have what CSV quotes, and some values are missing."""
    begin = datetime.datetime(2013, 1, 1, 5)
    return pa.table(
        {
            "number": list(range(rows)),
            "carrier": [("AA", 'B "6"', "D,L")[n % 3] for n in range(rows)],
            "tailnum": [None if n % 11 == 0 else f"N{n:05d}" for n in range(rows)],
            "dep_delay": [None if n % 7 == 0 else n % 120 - 20 for n in range(rows)],
            "distance": [n / 8 for n in range(rows)],
            "time_hour": [begin + datetime.timedelta(minutes=n) for n in range(rows)],
        }
    )
