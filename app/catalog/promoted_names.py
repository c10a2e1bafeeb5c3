"""A promoted column whose type was changed gets a new name, since a table's column can never change its type.

Otherwise a file with text in a column of numbers would make the whole table unreadable.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from app.disk.durable_fs import DurableFS
from app.parquet.promotion import Promotion

PROMOTED_FILE: Final = "promoted-columns"

Known = Mapping[str, str]
"""The type of each promoted column that registered files have ever had, by `kind/name`."""


def settled(promotions: Sequence[Promotion], known: Known) -> tuple[tuple[Promotion, ...], dict[str, str]]:
    """The promotions under their new names, and the updated known types.

    `total`, first a number and now text, becomes `total_string`.
    """
    types = dict(known)
    named = []
    for promotion in promotions:
        if types.get(_key(promotion), promotion.type) != promotion.type:
            promotion = msgspec.structs.replace(promotion, name=f"{promotion.name}_{promotion.type.value}")
        types[_key(promotion)] = promotion.type.value
        named.append(promotion)
    return tuple(named), types


def load_known(fs: DurableFS, state: Path) -> dict[str, str]:
    """Raises OSError, msgspec.DecodeError."""
    path = state / PROMOTED_FILE
    return msgspec.json.decode(fs.read(path), type=dict[str, str]) if fs.exists(path) else {}


def save_known(fs: DurableFS, state: Path, known: Known) -> None:
    fs.write_atomically(state / PROMOTED_FILE, msgspec.json.encode(known))


def _key(promotion: Promotion) -> str:
    return f"{promotion.kind.value}/{promotion.name}"
