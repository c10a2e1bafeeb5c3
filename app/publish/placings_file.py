"""How rows of each journal frame are placed, kept in a small file next to the manifest if needed."""

from typing import Final

import msgspec

from app.disk.durable_fs import DurableFS
from app.parquet.placing import Placing, Placings
from app.publish.paths import SinkPaths

CHANGES_MAX: Final = 10_000
"""Configured placings that are remembered; older ones are dropped, since the journal no longer has any of
their frames."""


class PlacingsDamaged(Exception):
    """The file cannot be read: rows that wait could be published twice, or not at all."""


def load_placings(fs: DurableFS, paths: SinkPaths) -> Placings:
    """Raises PlacingsDamaged; OSError."""
    if not fs.exists(paths.placings):
        return Placings()
    try:
        return msgspec.json.decode(fs.read(paths.placings), type=Placings)
    except msgspec.DecodeError as error:
        raise PlacingsDamaged(f"{paths.placings}: {error}; restore it from a backup") from None


def settle_placings(fs: DurableFS, paths: SinkPaths, placing: Placing, next_lsn: int) -> Placings:
    """From `next_lsn` on, which no frame has yet, rows are placed so; durable before there is such a frame.

    Raises PlacingsDamaged; OSError, SyncFailed.
    """
    before = load_placings(fs, paths)
    after = before.changed(placing, next_lsn)
    if after != before:
        after = Placings(after.changes[-CHANGES_MAX:])
        fs.write_atomically(paths.placings, msgspec.json.encode(after))
    return after
