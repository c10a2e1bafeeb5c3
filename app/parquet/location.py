"""Where a partition's files stand below `{path}`: names are a contract with those who query them."""

import re
from typing import Final

from app.parquet.partition import Partition
from app.schema import Kind

NUMBER_DIGITS: Final = 4

_PATH: Final = re.compile(
    r"(0|[1-9]\d{0,19})/(\d{4}-\d\d-\d\d)(?:/([01]\d|2[0-3]))?/(events|logs|snapshots)(?:-(\d{4,}))?\.parquet"
)


def relative_path(partition: Partition, number: int) -> str:
    """Posix path of a partition's file below `{path}`; number 0 is the first and carries no number."""
    hour = "" if partition.hour is None else f"/{partition.hour:02}"
    suffix = f"-{number:0{NUMBER_DIGITS}}" if number else ""
    return f"{partition.workspace_id}/{partition.date}{hour}/{partition.kind.value}{suffix}.parquet"


def parse(path: str) -> tuple[Partition, int] | None:
    """The partition and number that `relative_path` makes this path from; None for any other path."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    workspace_id, date, hour, kind, number = match.groups()
    partition = Partition(int(workspace_id), date, None if hour is None else int(hour), Kind(kind))
    found = partition, int(number or 0)
    return found if relative_path(*found) == path else None
