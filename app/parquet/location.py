"""Paths of a partition's files below `{path}`: the names are a contract with users who query them."""

import re
from enum import StrEnum
from typing import Final, NamedTuple

from app.kinds import Kind
from app.parquet.partition import Partition, is_month

NUMBER_DIGITS: Final = 4
NODE_CHARACTERS_MAX: Final = 63

_NODE: Final = re.compile(r"[a-z](?:[a-z0-9_-]*[a-z0-9])?")
_ENDS_IN_NUMBER: Final = re.compile(r"-\d{4,}$")
_DAY: Final = r"\d{4}-\d\d-\d\d"
_MONTH: Final = r"\d{4}-(?:0[1-9]|1[0-2])"
_HOUR: Final = r"[01]\d|2[0-3]"
_PLAIN: Final = rf"(0|[1-9]\d{{0,19}})/(?:({_DAY})(?:/({_HOUR}))?|({_MONTH}))/"
_HIVE: Final = rf"workspace=(0|[1-9]\d{{0,19}})/(?:date=({_DAY})(?:/hour=({_HOUR}))?|month=({_MONTH}))/"
_NAME: Final = r"(events|logs|snapshots)(?:-([a-z][a-z0-9_-]*?))?(?:-(\d{4,}))?\.parquet"


class Folders(StrEnum):
    """How the folders of a file are named: `42/2024-01-15/13` or `workspace=42/date=2024-01-15/hour=13`; of a
    month `42/2024-01` or `workspace=42/month=2024-01`."""

    PLAIN = "plain"
    HIVE = "hive"


HIVE_COLUMNS: Final = ("workspace", "date", "hour")
HIVE_MONTHLY_COLUMNS: Final = ("workspace", "month")
"""Folders that engines with Hive partitioning read as columns. A month is never named `date=`: next to days
it would be compared as text, and rows would be missed."""

_PATHS: Final = ((Folders.PLAIN, re.compile(_PLAIN + _NAME)), (Folders.HIVE, re.compile(_HIVE + _NAME)))


def checked_node_id(text: str) -> str:
    """A node's name, checked for use in file names. Raises ValueError.

    It begins with a letter and does not end as a file's number does, so that no two nodes share a name.
    """
    if len(text) > NODE_CHARACTERS_MAX or not _NODE.fullmatch(text) or _ENDS_IN_NUMBER.search(text):
        raise ValueError(
            f"{text!r} cannot be part of file names; use at most {NODE_CHARACTERS_MAX} lower-case letters, "
            "digits, - and _, beginning with a letter and not ending in - and four or more digits"
        )
    return text


def relative_path(
    partition: Partition, number: int, node: str | None = None, folders: Folders = Folders.PLAIN
) -> str:
    """Posix path of a partition's file below `{path}`; number 0 is the first and carries no number.

    node: the node id of the service that writes it, where several write the same partitions.
    """
    parts = [str(partition.workspace_id), partition.date]
    if partition.hour is not None:
        parts.append(f"{partition.hour:02}")
    if folders is Folders.HIVE:
        names = HIVE_MONTHLY_COLUMNS if is_month(partition.date) else HIVE_COLUMNS
        parts = [f"{name}={part}" for name, part in zip(names, parts, strict=False)]
    name = partition.kind.value + (f"-{node}" if node else "") + _suffix(number)
    return f"{'/'.join(parts)}/{name}.parquet"


def _suffix(number: int) -> str:
    return f"-{number:0{NUMBER_DIGITS}}" if number else ""


class Location(NamedTuple):
    """What `relative_path` makes a path from."""

    partition: Partition
    number: int
    node: str | None = None
    folders: Folders = Folders.PLAIN


def parse(path: str) -> Location | None:
    """What `relative_path` makes this path from; None for any other path."""
    for folders, pattern in _PATHS:
        match = pattern.fullmatch(path)
        if match is None:
            continue
        workspace_id, date, hour, month, kind, node, number = match.groups()
        partition = Partition(
            int(workspace_id), date or month, None if hour is None else int(hour), Kind(kind)
        )
        found = Location(partition, int(number or 0), node, folders)
        if relative_path(*found) == path:
            return found
    return None
