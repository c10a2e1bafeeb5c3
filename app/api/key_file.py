"""Changes a key file on disk: lines are added or removed, everything else stays unchanged."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from app.api.api_keys import KeyFileError, parse_keys
from app.disk.durable_fs import DurableFS
from app.kinds import ID_BYTES

MODE: Final = 0o600
SHOWN_CHARACTERS: Final = 8
"""Characters of a key shown in a listing: enough to tell it from others, too few to use it."""


class KeyLine(msgspec.Struct, frozen=True):
    """One key of the file. name: the text after the workspace, may be empty."""

    key: str
    workspace_id: int
    name: str

    @property
    def shown(self) -> str:
        return f"{self.key[:SHOWN_CHARACTERS]}…"


def list_keys(path: Path) -> list[KeyLine]:
    """Raises KeyFileError."""
    return [line for line in map(_parsed, _lines(path)) if line is not None]


def add_key(path: Path, workspace_id: int, name: str) -> str:
    """Adds a new random key at the end of the file, which is created if missing."""
    if any(character in name for character in ":#\n\r"):
        raise KeyFileError("a name must not contain a colon, # or a line break")
    key = secrets.token_hex(ID_BYTES)
    lines = _lines(path) if path.exists() else []
    _write(path, [*lines, f"{key}:{workspace_id}" + (f":{name}" if name else "")])
    return key


def rotate_key(path: Path, beginning: str) -> tuple[str, KeyLine]:
    """Adds a second key for the workspace of the key that begins this way: both are valid until the old one
    is revoked."""
    old = _one(path, beginning)
    return add_key(path, old.workspace_id, old.name), old


def revoke_key(path: Path, beginning: str) -> KeyLine:
    """Removes the key that begins this way from the file."""
    old = _one(path, beginning)
    _write(path, _without(_lines(path), lambda line: line is not None and line.key == old.key))
    return old


def _one(path: Path, beginning: str) -> KeyLine:
    found = [line for line in list_keys(path) if line.key.startswith(beginning.strip("…").lower())]
    if len(found) != 1:
        number = "no key" if not found else f"{len(found)} keys"
        raise KeyFileError(f"{number} in {path} begin with {beginning}; parquet-sink keys list shows them")
    return found[0]


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from error
    parse_keys(text, str(path))
    return text.splitlines()


def _parsed(line: str) -> KeyLine | None:
    entry = line.split("#", 1)[0].strip()
    if not entry:
        return None
    key, workspace_id, *name = (part.strip() for part in entry.split(":", 2))
    return KeyLine(key.lower(), int(workspace_id), name[0] if name else "")


def _without(lines: list[str], goes: Callable[[KeyLine | None], bool]) -> list[str]:
    return [line for line in lines if not goes(_parsed(line))]


def _write(path: Path, lines: list[str]) -> None:
    """Replaces the file atomically: a service that reads it meanwhile sees either the old or the new one."""
    text = "".join(f"{line}\n" for line in lines)
    parse_keys(text, str(path))
    mode = path.stat().st_mode & 0o777 if path.exists() else MODE
    DurableFS().write_atomically(path, text.encode())
    path.chmod(mode)
