"""The window of message ids, by which rows are recognised when a client sends them again in another batch.

An id is a hash of the client's own id; zeros mean that a row has none. Ids are kept in two generations per
workspace: when the younger is full, the older is dropped. So at least half of the maximum number is
remembered per workspace, and dropping needs no search.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from app.submission import Messages

ID_BYTES: Final = Messages.ID_BYTES
NO_ID: Final = bytes(ID_BYTES)


class MessageReceipt(msgspec.Struct, frozen=True, array_like=True):
    """A receipt for stored rows with these ids. ids: concatenated."""

    workspace_id: int
    ids: bytes


class _Generations(msgspec.Struct):
    young: dict[bytes, None] = {}
    old: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self.old)


class MessageWindow:
    """A bounded set of message ids. One thread at a time.

    max_of_workspace: ids of one workspace. max_ids: of all; the workspace idle for longest loses its ids
    first.
    """

    def __init__(self, max_of_workspace: int, max_ids: int) -> None:
        self._max_of_workspace = max_of_workspace
        self._max_ids = max_ids
        self._workspaces: OrderedDict[int, _Generations] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def repeated(self, workspace_id: int, ids: bytes, seen: set[bytes]) -> list[int]:
        """The indices of ids that are remembered, in `seen`, or earlier in `ids`. Ids are added to `seen`.

        seen: ids of this workspace that are stored together with these.
        """
        each = divided(ids)
        known = self._workspaces.get(workspace_id) or _Generations()
        places: list[int] = []
        if len(set(each)) < len(each) or not all(
            some.isdisjoint(each) for some in (known.young.keys(), known.old.keys(), seen)
        ):
            young, old = known.young, known.old
            for place, message_id in enumerate(each):
                if message_id == NO_ID:
                    continue
                if message_id in seen or message_id in young or message_id in old:
                    places.append(place)
                seen.add(message_id)
        else:
            seen.update(each)
        seen.discard(NO_ID)
        return places

    def remember(self, receipts: Iterable[MessageReceipt]) -> None:
        for receipt in receipts:
            self._remember(receipt.workspace_id, divided(receipt.ids))

    def _remember(self, workspace_id: int, ids: Sequence[bytes]) -> None:
        known = self._workspaces.get(workspace_id)
        if known is None:
            known = self._workspaces[workspace_id] = _Generations()
        self._workspaces.move_to_end(workspace_id)
        before = len(known)
        known.young.update(dict.fromkeys(ids))
        known.young.pop(NO_ID, None)
        if len(known.young) * 2 > self._max_of_workspace:
            known.old, known.young = known.young, {}
        self._count += len(known) - before
        while self._count > self._max_ids and self._workspaces:
            _, forgotten = self._workspaces.popitem(last=False)
            self._count -= len(forgotten)

    def dump(self) -> list[MessageReceipt]:
        """All ids, oldest first."""
        return [
            MessageReceipt(workspace_id, b"".join([*known.old, *known.young]))
            for workspace_id, known in self._workspaces.items()
        ]


def divided(ids: bytes) -> list[bytes]:
    return [ids[start : start + ID_BYTES] for start in range(0, len(ids), ID_BYTES)]


def without(ids: bytes, places: Sequence[int]) -> bytes:
    """The ids without those at some indices."""
    if not places:
        return ids
    left_out = set(places)
    return b"".join(each for place, each in enumerate(divided(ids)) if place not in left_out)


Repeated = Mapping[int, Sequence[int]]
"""By batch: the indices, among its accepted rows, of rows that are stored already."""
