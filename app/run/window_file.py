"""The file with batch ids whose frames have been trimmed."""

import logging
from pathlib import Path

from app.commit.batch_ids import DeduplicationPolicy, DeduplicationWindow, WindowDamaged
from app.disk.durable_fs import DurableFS

log = logging.getLogger(__name__)


def load_window(fs: DurableFS, path: Path, policy: DeduplicationPolicy) -> DeduplicationWindow:
    """An empty window if there is no file, or it cannot be read."""
    window = DeduplicationWindow(policy)
    if fs.exists(path):
        try:
            window.load(fs.read(path))
        except (WindowDamaged, OSError) as error:
            log.warning(
                "%s cannot be read (%s): batches sent before this start may be stored twice if they are "
                "sent again now",
                path,
                error,
            )
    return window
