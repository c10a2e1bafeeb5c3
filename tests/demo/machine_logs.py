"""Real log lines of this machine; nothing is made up where it has none."""

import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

LINES_MAX: Final = 20_000


def log_lines(fallback: Path) -> list[dict[str, Any]]:
    """Up to LINES_MAX lines of /var/log, else of journalctl, else of the file `fallback`, as JSON logs.

    `data.number` tells each from all others: it counts from 0.
    """
    lines = list(islice(_system_lines(), LINES_MAX))
    if not lines:
        lines = [("parquet-sink", line) for line in _lines_of(fallback)]
    return [
        {"message": message, "level": level_of(message), "service": service, "data": {"number": number}}
        for number, (service, message) in enumerate(lines)
    ]


def level_of(message: str) -> str:
    text = message.lower()
    return next((level for level in ("error", "warning") if level in text), "info")


def _system_lines() -> Iterator[tuple[str, str]]:
    found = False
    for path in sorted(Path("/var/log").glob("*.log")):
        for line in _lines_of(path):
            found = True
            yield path.stem, line
    if not found:
        yield from (("journal", line) for line in _journal_lines())


def _journal_lines() -> list[str]:
    command = ["journalctl", "--no-pager", "--output=short-iso", f"--lines={LINES_MAX}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return []
    return [line for line in done.stdout.splitlines() if line] if done.returncode == 0 else []


def _lines_of(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return []
