"""From another thread to the event loop."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVarTuple

Arguments = TypeVarTuple("Arguments")


def call_on(
    loop: asyncio.AbstractEventLoop,
    callback: Callable[[*Arguments], object],
    *arguments: *Arguments,
) -> None:
    """Have the loop call it, and wake it. Nothing happens where it has ended: nobody waits there."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *arguments)
