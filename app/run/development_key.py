"""The API key of a development service on loopback: created once, kept in a file, reused."""

import os
import secrets
from pathlib import Path
from typing import Final

from app.api.api_keys import KeyFileError, parse_keys
from app.kinds import ID_BYTES

FILE_NAME: Final = "api-keys.txt"
WORKSPACE_ID: Final = 1


def development_key(directory: Path) -> tuple[Path, str]:
    """The key file in `directory` and its first key in hex; created, readable only by its owner, if missing.

    Raises OSError, and KeyFileError if the file exists but contains no keys.
    """
    path = directory / FILE_NAME
    directory.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path, _first_key(path)
    key = secrets.token_hex(ID_BYTES)
    with open(descriptor, "w") as file:
        file.write(f"# hexkey:workspace_id:name\n{key}:{WORKSPACE_ID}:development\n")
    return path, key


def _first_key(path: Path) -> str:
    keys = parse_keys(path.read_text("utf-8"), str(path))
    if not keys:
        raise KeyFileError(f"{path}: contains no keys; add one, or remove the file to have one created")
    return next(iter(keys)).hex()
