"""Extracts promoted fields from payloads, as columns."""

import operator
from collections import Counter
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec
import pyarrow as pa

from app.parquet.promotion import PromotedType, Promotion

_ARROW: Final = MappingProxyType(
    {
        PromotedType.STRING: pa.string(),
        PromotedType.INTEGER: pa.int64(),
        PromotedType.DOUBLE: pa.float64(),
        PromotedType.BOOLEAN: pa.bool_(),
    }
)

CHUNK_ROWS: Final = 8192
"""Payloads that are parsed at a time, which bounds the memory needed."""


_JSON: Final[MappingProxyType[PromotedType, Any]] = MappingProxyType(
    {
        PromotedType.STRING: str,
        PromotedType.INTEGER: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
        PromotedType.DOUBLE: float,
        PromotedType.BOOLEAN: bool,
    }
)


class _Tree(msgspec.Struct):
    """Which members of one object are taken, and which are objects to go into."""

    leaves: dict[str, PromotedType] = {}
    branches: dict[str, "_Tree"] = {}


class Extractor:
    """Takes the members of some promotions out of payloads. No path goes through another one's member."""

    def __init__(self, promotions: Sequence[Promotion]) -> None:
        self._promotions = promotions
        self._decode = _decoder(promotions)
        self._alone = [_decoder([promotion]) for promotion in promotions]
        self._attributes = [_attributes(promotion.path, promotions) for promotion in promotions]
        self._alone_attributes = [_attributes(promotion.path, [promotion]) for promotion in promotions]

    def extract(self, payloads: pa.ChunkedArray) -> tuple[list[pa.ChunkedArray], Counter[str]]:
        """One column for each promotion, and by its name how many values did not fit."""
        parts: list[list[pa.Array]] = [[] for _ in self._promotions]
        unfit: Counter[str] = Counter()
        for start in range(0, len(payloads), CHUNK_ROWS):
            columns = self._columns(payloads.slice(start, CHUNK_ROWS).to_pylist(), unfit)
            for part, column, promotion in zip(parts, columns, self._promotions, strict=True):
                part.append(pa.array(column, arrow_type(promotion)))
        types = [arrow_type(promotion) for promotion in self._promotions]
        return [pa.chunked_array(part, type_) for part, type_ in zip(parts, types, strict=True)], unfit

    def _columns(self, payloads: list[bytes], unfit: Counter[str]) -> list[list[Any]]:
        """The loop over the payloads runs in C; Python is entered once for each that does not fit whole."""
        objects: list[Any] = []
        amended: list[int] = []
        waiting = iter(payloads)
        decoded = map(self._decode, waiting)
        while True:
            try:
                objects.extend(decoded)
                break
            except (msgspec.DecodeError, RecursionError, TypeError):
                failed = len(payloads) - operator.length_hint(waiting) - 1
                objects[failed:] = [None]
                amended.append(failed)
        columns = [_taken(objects, attributes) for attributes in self._attributes]
        for row in amended:
            for number, column in enumerate(columns):
                column[row] = self._salvage(payloads[row], number, unfit)
        return columns

    def _salvage(self, payload: bytes, number: int, unfit: Counter[str]) -> Any:
        try:
            found = self._alone[number](payload)
        except (msgspec.DecodeError, RecursionError, TypeError):
            unfit[self._promotions[number].name] += 1
            return None
        return _taken([found], self._alone_attributes[number])[0]


def _taken(objects: list[Any], attributes: Sequence[str]) -> list[Any]:
    for attribute in attributes:
        objects = [None if each is None else getattr(each, attribute) for each in objects]
    return objects


def _tree(promotions: Sequence[Promotion]) -> _Tree:
    root = _Tree()
    for promotion in promotions:
        tree = root
        for member in promotion.path[:-1]:
            tree = tree.branches.setdefault(member, _Tree())
        tree.leaves[promotion.path[-1]] = promotion.type
    return root


def _decoder(promotions: Sequence[Promotion]) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(_structure(_tree(promotions))).decode


def _structure(tree: _Tree) -> type[msgspec.Struct]:
    """A type that has the tree's members alone: what else an object holds is skipped, not built."""
    types: dict[str, Any] = {member: _JSON[type_] for member, type_ in tree.leaves.items()}
    types |= {member: _structure(branch) for member, branch in tree.branches.items()}
    named = {_attribute(tree, member): member for member in types}
    fields = [(attribute, types[member] | None, None) for attribute, member in named.items()]
    return msgspec.defstruct("Members", fields, rename=named, gc=False)


def _attribute(tree: _Tree, member: str) -> str:
    """Members have any name, attributes do not."""
    return f"member_{[*tree.leaves, *tree.branches].index(member)}"


def _attributes(path: Sequence[str], promotions: Sequence[Promotion]) -> list[str]:
    tree = _tree(promotions)
    found = []
    for member in path:
        found.append(_attribute(tree, member))
        tree = tree.branches.get(member, _Tree())
    return found


def arrow_type(promotion: Promotion) -> pa.DataType:
    """Of the promoted column."""
    return _ARROW[promotion.type]
