"""The cyclic collector, told not to walk what a batch is made of."""

import gc
from typing import Final

YOUNG_MAX: Final = 200_000
"""Containers allocated and not freed before the garbage collector runs: as many as a few batches need.
Decoded rows are freed before that, so they are never traversed; this also bounds what reference cycles can
hold."""


def look_less_often() -> None:
    """Call once all parts stand, in each process that takes batches.

    What stands now is left out of every collection; with the usual threshold of 700 a group of rows was
    walked some hundred times while it was decoded.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 10, 10)
