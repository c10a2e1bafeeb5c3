"""What a campaign does to the files of a service, and what it must be told of that afterwards."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tests.torture.state_on_disk import marks_in_file

FOOTER_END_BYTES: Final = 8
"""Its length and the magic bytes."""


class Harm(msgspec.Struct):
    """Harm to one file. path: below the data directory. how: in words.

    taken: numbers of the rows that the file had and has no more. left: its bytes afterwards; None if it was
    removed. was_growing: whether rows were still added to it. starts: how many there were since. must_return:
    taken rows that the journal still had at one of them. flipped: position and bit, which are given back
    before files are read.
    """

    path: str
    how: str
    was_growing: bool
    taken: set[int] = set()
    left: bytes | None = None
    starts: int = 0
    must_return: set[int] = set()
    flipped: tuple[int, int] | None = None

    def __str__(self) -> str:
        return f"{self.path} ({self.how}, {'growing' if self.was_growing else 'sealed'})"


Destroy = Callable[[Path, random.Random], object]


def remove(path: Path, _: random.Random) -> None:
    path.unlink()


def truncate(path: Path, rng: random.Random) -> None:
    """To nothing, by a byte, or anywhere in between."""
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: rng.choice([0, size - 1, rng.randrange(size)])])


def destroy(data: Path, path: str, how: str, harmful: Destroy, growing: bool, rng: random.Random) -> Harm:
    """For good. While it happens the service must not write."""
    before = marks_in_file(data, path)
    harmful(data / path, rng)
    left = (data / path).read_bytes() if (data / path).exists() else None
    return Harm(path, how, growing, before - marks_in_file(data, path), left)


def flip(data: Path, path: str, where: str, growing: bool, rng: random.Random) -> Harm:
    """where: "payload", "footer", or "end", which is the footer's length and the magic bytes."""
    content = bytearray((data / path).read_bytes())
    position = rng.choice(_range(bytes(content), where))
    bit = 1 << rng.randrange(8)
    content[position] ^= bit
    with (data / path).open("r+b") as file:
        file.seek(position)
        file.write(content[position : position + 1])
    return Harm(path, f"a bit of its {where} flipped", growing, flipped=(position, bit), left=bytes(content))


def flip_back(data: Path, harm: Harm) -> bool:
    """Whether the flipped byte was still there. Dead bytes of a compacted file may be zeros by now."""
    assert harm.flipped is not None
    assert harm.left is not None
    position, bit = harm.flipped
    try:
        with (data / harm.path).open("r+b") as file:
            file.seek(position)
            there = file.read(1)
            if there != harm.left[position : position + 1]:
                return False
            file.seek(position)
            file.write(bytes([there[0] ^ bit]))
    except FileNotFoundError:
        return False
    return True


def _range(content: bytes, where: str) -> range:
    size = len(content)
    footer = size - FOOTER_END_BYTES - int.from_bytes(content[-8:-4], "little")
    if where == "end":
        return range(size - FOOTER_END_BYTES, size)
    if where == "footer":
        return range(footer, size - FOOTER_END_BYTES)
    group = pq.read_metadata(pa.BufferReader(content)).row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    begin = min(column.dictionary_page_offset or column.data_page_offset for column in columns)
    return range(begin, begin + sum(column.total_compressed_size for column in columns))
