"""The seam through which the pipeline makes a group durable, and the account of accepted rows."""

import threading
from collections import Counter
from typing import Literal, Protocol, TypeVar

from app.kinds import Kind

WhyNot = Literal["disk_full", "outcome_unknown", "stopping"]


class NotStored(Exception):
    """The group is not accepted, but the store continues. why: the refusal for the clients.

    After "outcome_unknown" the rows may or may not be stored. The text says what happened.
    """

    def __init__(self, why: WhyNot, text: str = "") -> None:
        super().__init__(text)
        self.why: WhyNot = why


StoredGroup = TypeVar("StoredGroup", contravariant=True)


class Store(Protocol[StoredGroup]):
    """Makes groups durable. stores_at_once: how many threads may be in `store`.

    `store` returns when the group's rows are as durable as this store promises: the seconds it took. It
    judges the group's batch ids, after which the group knows its answers. Raises NotStored; after any other
    exception nothing more may be stored. `wait_for_room` delays the next group, for a bounded time, while
    rows arrive faster than they are passed on. `idle` is called once when no batch has arrived for a while.
    """

    @property
    def stores_at_once(self) -> int: ...
    def wait_for_room(self) -> None: ...
    def store(self, group: StoredGroup) -> float: ...
    def idle(self) -> None: ...


class AcceptedRows:
    """Acknowledged rows, by workspace and kind, with which the files are compared.

    `lock` is held while rows pass from here to the writer, and by readers of both accounts.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rows: Counter[tuple[int, Kind]] = Counter()

    def workspaces(self) -> set[int]:
        with self.lock:
            return {workspace_id for workspace_id, _ in self.rows}
