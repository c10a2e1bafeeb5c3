"""What journal, manifest and data files of a service say, read by none of its code."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from tests.torture.ledger import MARK
from tests.torture.oracle import rows_in_file

FRAME: Final = struct.Struct("<4sIIBBHQQQII")
"""docs/journal-format.md: magic, CRC, length, type, version, zero, salt, LSN, durable LSN, CRC, zero."""

MAGIC: Final = b"PSJ1"
ENTRY: Final = 2
STATE: Final = 4
HEADER_LENGTH: Final = struct.Struct("<I")
CARRIED: Final = b"origin"
"""In the header of a frame whose rows an earlier one had."""


def marks_in_journal(journal: Path) -> dict[int, set[int]]:
    """The row numbers of each frame that a start reads, by LSN. Torn tails end the reading."""
    segments = journal / "segments"
    found: dict[int, set[int]] = {}
    trimmed = _trimmed(segments / "state")
    for path in sorted(segments.glob("*.segment")):
        if int(path.stem) > trimmed:
            for lsn, payload in _entries(path.read_bytes()):
                (length,) = HEADER_LENGTH.unpack_from(payload)
                header = payload[HEADER_LENGTH.size : HEADER_LENGTH.size + length]
                if CARRIED not in header:
                    found[lsn] = set(_marks(payload[HEADER_LENGTH.size + length :]))
    return found


def _trimmed(state: Path) -> int:
    if not state.exists():
        return 0
    return int.from_bytes(state.read_bytes()[FRAME.size : FRAME.size + 8], "little")


def _entries(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + FRAME.size <= len(data):
        magic, _, length, type_, *_, lsn, _, _, _ = FRAME.unpack_from(data, at)
        if magic != MAGIC or at + FRAME.size + length > len(data):
            return
        if type_ == ENTRY:
            yield lsn, data[at + FRAME.size : at + FRAME.size + length]
        at += FRAME.size + length + -length % 8


def _marks(stream: bytes) -> Iterator[int]:
    try:
        with pa.ipc.open_stream(stream) as reader:
            payloads = reader.read_all()["payload"].to_pylist()
    except pa.ArrowException:
        return  # of a torn tail
    for payload in payloads:
        yield json.loads(payload)[MARK]


def files_in_manifest(journal: Path) -> dict[str, dict[str, Any]]:
    """The last record of each file, by its path."""
    found: dict[str, dict[str, Any]] = {}
    for line in (journal / "manifest").read_bytes().splitlines()[1:]:
        record = json.loads(line.partition(b" ")[2])
        found.update((file["path"], file) for file in record.get("files", ()))
    return found


def marks_in_file(data: Path, path: str) -> set[int]:
    """The row numbers in a file that may be damaged or gone: then there are none."""
    try:
        return {mark for _, _, mark in rows_in_file(Path(path), data / path)}
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return set()
