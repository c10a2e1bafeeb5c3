"""Removes rows: buffered rows are written first, and the journal drops its segments; then the files are
searched.

The receipt is kept next to the journal. It contains only hashes of the request's values: a known id can be
checked against it, but the receipt does not reveal the id.
"""

import hashlib
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec

from app.disk.durable_fs import DurableFS
from app.errors import RequestError
from app.parquet.encode import rfc3339
from app.parquet.wanted import Wanted
from app.publish.forgetting import ForgetCommand, Forgotten, LeftFile
from app.run.parts import Parts

FOLDER = "forgotten"


def forget(
    parts: Parts, fs: DurableFS, state: Path, wanted: Wanted, now: bool, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """The receipt, which is then durable. asked: the request. Blocks until it is done.

    Raises RequestError if published files never change; NotPublished; WriterStopped; OSError.
    """
    through = parts.journal.last_lsn
    parts.journal.roll()
    parts.writer.flush().result()
    future: Future[Forgotten] = Future()
    try:
        parts.writer.forget(ForgetCommand(wanted, now, future))
    except ValueError:
        raise RequestError(
            "Published files of this service never change (they are objects, or registered in tables), so "
            "rows cannot be removed from them here; delete rows with an engine that writes to them.",
            code="files_never_change",
        ) from None
    found = future.result()
    left = list(found.left)
    if parts.journal.first_lsn < through:
        left.append(LeftFile("journal", "its oldest segments could not be removed; try again"))
    quarantined = [
        rows for rows in parts.manifest.quarantined() if wanted.workspace_id in (None, rows.workspace_id)
    ]
    left += [LeftFile(f"quarantine/{rows.path}", "its rows were not searched") for rows in quarantined]
    return _kept(fs, state, found, left, asked, now)


def _kept(
    fs: DurableFS,
    state: Path,
    found: Forgotten,
    left: list[LeftFile],
    asked: Mapping[str, Any],
    now: bool,
) -> dict[str, Any]:
    at_ms = time.time_ns() // 1_000_000
    hashed = {name: _hashed(value) for name, value in asked.items()}
    name = f"{at_ms}-{hashlib.sha256(repr(sorted(hashed.items())).encode()).hexdigest()[:12]}.json"
    receipt = {
        "at": rfc3339(at_ms),
        "asked": hashed,
        "now": now,
        "complete": not left,
        "rows": found.rows,
        "files_searched": found.looked_at,
        "files": [msgspec.to_builtins(file) for file in found.files],
        "left": [msgspec.to_builtins(each) for each in left],
        "receipt": f"{FOLDER}/{name}",
    }
    fs.make_directory(state / FOLDER)
    fs.write_atomically(state / FOLDER / name, msgspec.json.encode(receipt) + b"\n")
    return receipt


def _hashed(value: Any) -> Any:
    if isinstance(value, str):
        return f"sha256:{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"
    if isinstance(value, Mapping):
        return {name: _hashed(each) for name, each in value.items()}
    return value
