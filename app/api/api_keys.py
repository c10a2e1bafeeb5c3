"""The API keys of the service: which 16-byte key stands for which workspace."""

import logging
import os
from binascii import unhexlify
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from app.kinds import ID_BYTES

MAX_KEY_FILE_BYTES: Final = 64 << 20
"""About a million keys. A larger file is assumed to be a mistake in the path."""

WRONG_LINES_MAX: Final = 20
"""Invalid lines of a key file that are reported one by one."""

MAX_WORKSPACE_ID: Final = 2**32 - 1

_log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]
"""Modification time, inode and size: what changes when a file is written or replaced."""


class KeyFileError(ValueError):
    """The key file cannot be used. The message names the file and the line, never a key."""


class ApiKeys:
    """Keys and their workspaces, read from a file that may be replaced while the service runs.

    `lookup` may be called from any thread: a reload builds a new mapping and swaps it in whole.

    A plain dict needs no constant-time comparison here: it compares keys only where their hashes are equal,
    the hash (SipHash) is seeded anew by each process, and keys are 128 random bits. There is no prefix that
    an attacker could lengthen by measuring.
    """

    def __init__(self, workspaces: Mapping[bytes, int], path: Path | None = None) -> None:
        """workspaces: workspace id by 16-byte key. path: the file they came from, None for fixed keys."""
        self._workspaces = MappingProxyType(dict(workspaces))
        self._path = path
        self._stamp: Stamp | None = None

    @classmethod
    def load(cls, path: Path) -> "ApiKeys":
        """Read the key file at `path`. Raises KeyFileError."""
        stamp = _stamp(path)
        keys = cls(parse_keys(_read(path), str(path)), path)
        keys._stamp = stamp
        return keys

    def lookup(self, key: bytes) -> int | None:
        """The workspace of a 16-byte key, None for an unknown key."""
        return self._workspaces.get(key)

    def __len__(self) -> int:
        return len(self._workspaces)

    def reload_if_changed(self) -> bool:
        """Read the key file again if it was touched or replaced; return whether the keys have changed.

        A missing or invalid file is logged, once per change, and the keys known so far stay in effect.
        Blocks on the disk: an event loop calls it in a thread.
        """
        if self._path is None:
            return False
        # Taken before reading: a write in between then shows as a change at the next look.
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            workspaces = parse_keys(_read(self._path), str(self._path))
        except KeyFileError as error:
            _log.error("API keys were not reloaded, the %d old keys stay in effect: %s", len(self), error)
            return False
        self._workspaces = MappingProxyType(workspaces)
        _log.info("API keys reloaded: %d keys from %s", len(workspaces), self._path)
        return True


def parse_keys(text: str, source: str) -> dict[bytes, int]:
    """The workspaces by key of a key file's text.

    One `hexkey:workspace_id` or `hexkey:workspace_id:name` a line; blank lines and comments after a `#` are
    ignored. `source` names the file in messages. Raises KeyFileError with every invalid line.
    """
    workspaces: dict[bytes, int] = {}
    wrong: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.split("#", 1)[0].strip()
        if not entry:
            continue
        try:
            key, workspace_id = _entry(entry)
            if key in workspaces:
                raise ValueError("this key is already on an earlier line; remove one of them")
        except ValueError as error:
            wrong.append(f"{source}, line {number}: {error}")
        else:
            workspaces[key] = workspace_id
    if wrong:
        more = [] if len(wrong) <= WRONG_LINES_MAX else [f"and {len(wrong) - WRONG_LINES_MAX} more lines"]
        raise KeyFileError("\n".join([*wrong[:WRONG_LINES_MAX], *more]))
    return workspaces


def _entry(entry: str) -> tuple[bytes, int]:
    key, colon, rest = entry.partition(":")
    if not colon:
        raise ValueError("expected hexkey:workspace_id or hexkey:workspace_id:name")
    key = key.strip()
    try:
        binary = unhexlify(key)
    except ValueError:
        binary = b""
    if len(binary) != ID_BYTES:
        raise ValueError(f"the key must have exactly 32 hex characters, this one has {len(key)}")
    number = rest.split(":", 1)[0].strip()
    if not (number.isascii() and number.isdigit() and int(number[:11]) <= MAX_WORKSPACE_ID):
        raise ValueError(f"the workspace id must be a number from 0 to {MAX_WORKSPACE_ID}")
    return binary, int(number)


def _stamp(path: Path) -> Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_KEY_FILE_BYTES:
        raise KeyFileError(f"{path}: larger than {MAX_KEY_FILE_BYTES} bytes; is this the key file?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise KeyFileError(f"{path}: is not UTF-8 text") from None
