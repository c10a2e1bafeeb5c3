"""What the writer needs to know from the start: the journal's identity, and how its frames are placed."""

import msgspec

from app.disk.durable_fs import DurableFS
from app.publish.paths import SinkPaths
from app.publish.placings_file import PlacingsDamaged, settle_placings
from app.publish.rotation import WriterPolicy
from app.run.start_report import CannotStart, cannot_start


def policy_from(
    policy: WriterPolicy, fs: DurableFS, paths: SinkPaths, journal: str, next_lsn: int
) -> WriterPolicy:
    """The configured policy, which applies from the frame `next_lsn` on. Raises CannotStart; SyncFailed."""
    try:
        placings = settle_placings(fs, paths, policy.placings.now, next_lsn)
    except PlacingsDamaged as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        raise CannotStart(cannot_start(error)) from error
    return msgspec.structs.replace(policy, journal=journal, placings=placings)
