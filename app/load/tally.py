"""The outcome of a load's rows so far. May be used from any thread."""

import re
import threading
from collections import Counter
from pathlib import Path
from typing import IO, Final

import orjson

from app.load.policy import RefusedRow

REASONS_MAX: Final = 50
"""Reasons that are counted separately; further ones are counted together."""

OTHER: Final = "other reasons"

_VALUES: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\d[\d.:TZ+-]*")


class LoadTally:
    """accepted: rows stored by this load; stored_before: by an earlier one. dead_letters: a file, or None."""

    def __init__(self, dead_letters: Path | None) -> None:
        self.accepted = self.stored_before = self.refused = self.size = 0
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        if dead_letters is not None:
            self._file = dead_letters.open("wb")

    def stored(self, rows: int, *, before: bool, size: int = 0) -> None:
        with self._lock:
            self.size += size
            if before:
                self.stored_before += rows
            else:
                self.accepted += rows

    def refuse(self, row: RefusedRow) -> None:
        # Reasons that differ in the value alone are one.
        reason = _VALUES.sub("…", row.reason)
        with self._lock:
            if reason not in self.reasons and len(self.reasons) >= REASONS_MAX:
                reason = OTHER
            self.refused += 1
            self.reasons[reason] += 1
            self.examples.setdefault(reason, f"{row.source}, row {row.row}: {row.reason}")
            if self._file is not None:
                letter = {
                    "file": row.source,
                    "row": row.row,
                    "error": row.reason,
                    "line": row.line.decode("utf-8", "replace"),
                }
                self._file.write(orjson.dumps(letter, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
