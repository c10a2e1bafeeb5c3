"""Whether everything a batch points to lies within its body, and what its rows point to within `data`.

One offset after the other, in plain Python; shares no code with app.decode.
"""

import struct

_VECTORS = {  # slots of strings and vectors, and slots of numbers with their size, by schema type and layout
    "plain": ((2, 3, 4, 5), {0: 1, 1: 8}),
    "service": ((2, 3, 4, 5, 6), {0: 1, 1: 8}),
    2: ((1, 4, 5, 6), {0: 1, 2: 1, 3: 8}),
    5: ((1, 2, 3), {0: 8}),
}


class OutOfBounds(Exception):
    pass


class _Region:
    def __init__(self, bytes_: bytes) -> None:
        self._bytes = bytes_

    def read(self, form: str, at: int) -> int:
        size = struct.calcsize(form)
        if not 0 <= at <= len(self._bytes) - size:
            raise OutOfBounds
        value: int = struct.unpack_from(form, self._bytes, at)[0]
        return value

    def root(self) -> int:
        return self.read("<I", 0)

    def vtable(self, table: int) -> list[int]:
        """The offsets of the fields."""
        at = table - self.read("<i", table)
        size = self.read("<H", at)
        self.read("<H", at + 2)
        if size < 4 or size % 2:
            raise OutOfBounds
        return [self.read("<H", at + 4 + 2 * slot) for slot in range((size - 4) // 2)]

    def number(self, table: int, slots: list[int], slot: int, size: int) -> int:
        if slot >= len(slots) or not slots[slot]:
            return 0
        return self.read({1: "<B", 8: "<Q"}[size], table + slots[slot])

    def vector(self, table: int, slots: list[int], slot: int, item_bytes: int = 1) -> tuple[int, int] | None:
        """Position of the first item, and the number of items."""
        if slot >= len(slots) or not slots[slot]:
            return None
        field = table + slots[slot]
        at = field + self.read("<I", field)
        count = self.read("<I", at)
        if at + 4 + count * item_bytes > len(self._bytes):
            raise OutOfBounds
        return at + 4, count


def is_intact(body: bytes) -> bool:
    """Also False where the two fields that a batch needs, or its rows' vector, are missing."""
    try:
        return _check_batch(_Region(body), body)
    except OutOfBounds:
        return False


def _check_batch(outer: _Region, body: bytes) -> bool:
    table = outer.root()
    slots = outer.vtable(table)
    for slot, size in {1: 1, 2: 1, 3: 8}.items():
        outer.number(table, slots, slot, size)
    schema_type = outer.number(table, slots, 1, 1)
    outer.vector(table, slots, 5)
    data = outer.vector(table, slots, 4)
    if outer.vector(table, slots, 0) is None or data is None:
        return False
    inner = _Region(body[data[0] : data[0] + data[1]])
    root = inner.root()
    rows = inner.vector(root, inner.vtable(root), 0, item_bytes=4)
    if rows is None:
        return False
    for i in range(rows[1]):
        slot = rows[0] + 4 * i
        _check_row(inner, slot + inner.read("<I", slot), schema_type)
    return True


def _check_row(inner: _Region, table: int, schema_type: int) -> None:
    slots = inner.vtable(table)
    layout: int | str = schema_type
    if schema_type == 1:
        layout = "service" if len(slots) >= 7 else "plain"
    vectors, numbers = _VECTORS.get(layout, ((), {}))
    for slot, size in numbers.items():
        inner.number(table, slots, slot, size)
    for slot in vectors:
        inner.vector(table, slots, slot)
