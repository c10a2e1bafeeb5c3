"""Frames as JSON Lines, by the frame's own writer: no Python statement a cell where that can be avoided."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def lines_of(frame: Any) -> Iterator[bytes]:
    """One JSON object a row, without line ends. Raises TypeError for what is no frame."""
    if hasattr(frame, "write_ndjson"):  # Polars
        yield from frame.write_ndjson().encode().splitlines()
    elif hasattr(frame, "to_json") and hasattr(frame, "columns"):  # pandas
        text = frame.to_json(orient="records", lines=True, date_format="iso", date_unit="us")
        yield from text.encode().splitlines()
    elif hasattr(frame, "to_batches"):  # an Arrow table
        for batch in frame.to_batches():
            for row in batch.to_pylist():
                yield json.dumps(row, default=str).encode()
    else:
        raise TypeError(f"{type(frame).__name__} is not an Arrow table, pandas or Polars frame")
