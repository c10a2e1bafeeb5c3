"""Large FlatBuffer batches of numbered events, made in microseconds a row."""

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from app.kinds import Kind
from tests.support.flatbuffer_batches import NUMBER, Template
from tests.support.payloads import TIMESTAMP_MS
from tests.support.service import KEYS

ROWS: Final = 5_000
"""Rows of one batch."""

_BEFORE: Final = b'{"number": "'


class ManyRows:
    """Batches of ROWS events of one workspace; padding: more bytes in each payload."""

    def __init__(self, workspace: int = 1, padding: int = 0) -> None:
        payload = _BEFORE + NUMBER + b'", "text": "' + b"x" * padding + b'"}'
        row = {"event_type": "track", "event_name": "many", "payload": payload}
        self._template = Template(Kind.EVENTS, [row] * ROWS, bytes.fromhex(KEYS[workspace]))

    def body(self, first: int) -> bytes:
        """Rows first … first + ROWS - 1."""
        return self._template.body(first, TIMESTAMP_MS)


def many_numbers(table: pa.Table) -> list[int]:
    """The numbers of all rows of a table, in order of size."""
    payloads = pc.cast(table["payload"], pa.string())
    digits = pc.utf8_slice_codeunits(payloads, len(_BEFORE), len(_BEFORE) + len(NUMBER))
    return sorted(int(number) for number in digits.to_pylist())
