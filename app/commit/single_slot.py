"""Passes items between threads, one at a time, and knows whether the takers are busy."""

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class SingleSlot(Generic[Item]):
    """At most one item waits while the takers work on others: `give` blocks until there is room for it.

    Once closed, no more items are accepted; a waiting one is still taken.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: Item | None = None
        self._at_work: set[int] = set()
        self._closed = False

    def give(self, item: Item) -> bool:
        """Passes an item on; False if it was closed, and then the item was not passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is None or self._closed)
            if self._closed:
                return False
            self._waiting = item
            self._changed.notify_all()
            return True

    def take(self) -> Item | None:
        """The next item; None if there are no more. Also marks this thread's previous item as done."""
        with self._changed:
            self._at_work.discard(threading.get_ident())
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting is not None or self._closed)
            item, self._waiting = self._waiting, None
            if item is not None:
                self._at_work.add(threading.get_ident())
            self._changed.notify_all()
            return item

    def wait_until_idle(self) -> None:
        """Returns when no item waits or is being worked on, or when it was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._waiting is None and not self._at_work))

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
