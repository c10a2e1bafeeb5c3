"""Configures the cyclic garbage collector so that it does not traverse batches."""

import gc
from typing import Final

YOUNG_MAX: Final = 200_000
"""Containers allocated and not freed before the garbage collector runs: as many as a few batches need.
Decoded rows are freed before that, so they are never traversed; this also bounds what reference cycles can
hold."""


def look_less_often() -> None:
    """Call once all parts exist, in each process that takes batches.

    Existing objects are excluded from every collection; with the default threshold of 700, the rows of a
    group were traversed some hundred times while it was decoded.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 10, 10)
