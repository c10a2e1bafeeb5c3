"""The state file: the information that segments themselves cannot contain."""

import struct
from pathlib import Path
from typing import Final

import msgspec

from app.disk.durable_fs import DurableFS
from app.journal.frame import HEADER_BYTES, FrameType, decode_header, encode_frame, payload_is_valid

STATE_NAME: Final = "state"
_PAYLOAD: Final = struct.Struct("<QQQQ")
_FILE_BYTES: Final = HEADER_BYTES + _PAYLOAD.size


class JournalState(msgspec.Struct, frozen=True):
    """trimmed_lsn: every frame up to here was given up by `trim`; always the end of a segment.
    newest_lsn: first LSN of the newest segment that may hold entries; 0 before the first.
    durable_lsn: frames up to here were synced when this was written.
    reserved_lsn: LSNs up to here may have been used without a trace on disk (memory mode).
    """

    trimmed_lsn: int = 0
    newest_lsn: int = 0
    durable_lsn: int = 0
    reserved_lsn: int = 0


def state_path(directory: Path) -> Path:
    return directory / STATE_NAME


def read_state(fs: DurableFS, directory: Path) -> JournalState | None:
    """None when there is no state file. ValueError, with the reason, when it is damaged."""
    try:
        data = memoryview(fs.read(state_path(directory), 0, _FILE_BYTES + 1))
    except FileNotFoundError:
        return None
    header = decode_header(data)
    if header is None or header.type != FrameType.STATE or header.length != _PAYLOAD.size:
        raise ValueError("no valid frame")
    if not payload_is_valid(header, data):
        raise ValueError("wrong length or checksum")
    return JournalState(*_PAYLOAD.unpack_from(data, HEADER_BYTES))


def write_state(fs: DurableFS, directory: Path, state: JournalState) -> None:
    """Durable when it returns; a crash leaves the old or the new state."""
    payload = _PAYLOAD.pack(state.trimmed_lsn, state.newest_lsn, state.durable_lsn, state.reserved_lsn)
    frame = encode_frame(FrameType.STATE, 0, 0, 0, [payload], len(payload))
    fs.write_atomically(state_path(directory), b"".join([bytes(part) for part in frame]))
