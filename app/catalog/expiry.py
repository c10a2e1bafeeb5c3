"""Removes snapshots that a table no longer keeps, and the metadata files that only they used.

A data file is never removed here: no snapshot that this service makes drops one.
"""

import logging
from collections.abc import Collection, Sequence
from itertools import pairwise

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io import FileIO
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

log = logging.getLogger(__name__)


def expired(ages_ms: Sequence[tuple[int, int]], now_ms: int, count: int, age_ms: int) -> set[int]:
    """Which of (snapshot id, time in ms) are expired: those beyond the newest `count`, and those older than
    `age_ms`.

    The newest one is kept.
    """
    newest_first = sorted(ages_ms, key=lambda each: each[1], reverse=True)
    return {
        snapshot
        for place, (snapshot, made_ms) in enumerate(newest_first)
        if place and (place >= count or made_ms < now_ms - age_ms)
    }


def expire(table: Table, now_ms: int, count: int, age_ms: int) -> int:
    """Remove snapshots from the table, except those of branches and tags; return how many.

    If another node commits first, nothing is removed, and the next call tries again. Raises whatever the
    catalog's client raises.
    """
    protected = {ref.snapshot_id for ref in table.metadata.refs.values()}
    ages = [(each.snapshot_id, each.timestamp_ms) for each in table.snapshots()]
    chosen = expired(ages, now_ms, count, age_ms) - protected
    if not chosen:
        return 0
    in_order = sorted(table.snapshots(), key=lambda each: each.sequence_number or 0)
    gone = [each for each in in_order if each.snapshot_id in chosen]
    kept = [each for each in in_order if each.snapshot_id not in chosen]
    unneeded: set[str] = set()
    if _is_a_chain(in_order):
        # A manifest that a snapshot has dropped never comes back: the oldest that stays has all that matter.
        kept = kept if len(table.metadata.refs) > 1 else kept[:1]
        unneeded = _manifests(gone, table.io) - _manifests(kept, table.io)
    try:
        table.maintenance.expire_snapshots().by_ids(sorted(chosen)).commit()
    except CommitFailedException:
        return 0
    _remove(unneeded | {each.manifest_list for each in gone}, table.io)
    return len(chosen)


def _is_a_chain(in_order: Sequence[Snapshot]) -> bool:
    """Whether the table has no branches and was not rolled back."""
    return all(later.parent_snapshot_id == earlier.snapshot_id for earlier, later in pairwise(in_order))


def _manifests(snapshots: Sequence[Snapshot], io: FileIO) -> set[str]:
    return {manifest.manifest_path for each in snapshots for manifest in each.manifests(io)}


def _remove(urls: Collection[str], io: FileIO) -> None:
    for url in urls:
        try:
            io.delete(url)
        except Exception as error:  # leftovers are garbage, and harmless
            log.debug("%s stays: %s", url, error)
