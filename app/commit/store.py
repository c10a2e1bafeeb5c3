"""What the pipeline makes a group durable by, and the account of what was accepted."""

import threading
from collections import Counter
from typing import Literal, Protocol, TypeVar

from app.kinds import Kind

WhyNot = Literal["disk_full", "outcome_unknown", "stopping"]


class NotStored(Exception):
    """Nothing of this group counts as accepted, and the store goes on. why: what the clients are told.

    After "outcome_unknown" the rows may or may not be stored. The text says what happened.
    """

    def __init__(self, why: WhyNot, text: str = "") -> None:
        super().__init__(text)
        self.why: WhyNot = why


StoredGroup = TypeVar("StoredGroup", contravariant=True)


class Store(Protocol[StoredGroup]):
    """Where groups become durable. stores_at_once: how many threads may be in `store`.

    `store` returns when the group's rows are as durable as this place promises: the seconds that took. It
    judges the group's batch ids, and the group knows its answers then. Raises NotStored; after any other
    exception nothing more may be stored. `wait_for_room` holds the next group back while rows come faster
    than they go on from here, for a bounded time. `idle` is called once when no batch has come for a while.
    """

    @property
    def stores_at_once(self) -> int: ...
    def wait_for_room(self) -> None: ...
    def store(self, group: StoredGroup) -> float: ...
    def idle(self) -> None: ...


class AcceptedRows:
    """Rows acknowledged, by workspace and kind: what the files are held against.

    `lock` is held while rows pass from here to the writer, and by whoever reads both accounts.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rows: Counter[tuple[int, Kind]] = Counter()

    def workspaces(self) -> set[int]:
        with self.lock:
            return {workspace_id for workspace_id, _ in self.rows}
