"""The cyclic collector, told not to walk what a batch is made of."""

import gc
from typing import Final

YOUNG_MAX: Final = 200_000
"""Containers that are made and not given back before the collector looks at them: some batches' worth.
Decoded rows are given back before that, and never looked at; what a cycle keeps is bounded by this."""


def look_less_often() -> None:
    """Call once all parts stand, in each process that takes batches.

    What stands now is left out of every collection; with the usual threshold of 700 a group of rows was
    walked some hundred times while it was decoded.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 10, 10)
