"""Free space of the service's disks, and the reserve file that is deleted when one is full."""

import contextlib
import logging
from typing import Final

from app.commit.admission import AdmissionPolicy
from app.disk.durable_fs import DurableFS
from app.disk.file_stat import Space
from app.disk.reserve import DiskReserve
from app.publish.paths import SinkPaths

log = logging.getLogger(__name__)

ROOM: Final = 1 << 62


class Disks:
    """space: of the fullest disk, as of the last check."""

    def __init__(
        self, fs: DurableFS, paths: SinkPaths, reserve: DiskReserve, limits: AdmissionPolicy
    ) -> None:
        self._fs = fs
        self._paths = paths
        self._reserve = reserve
        self._limits = limits
        self.space = Space(ROOM, ROOM, ROOM, ROOM)

    def look(self, *, publishing_fails: bool) -> None:
        """Blocks. Deletes the reserve file when publishing fails for lack of space, and recreates it
        later."""
        spaces = []
        for path in filter(None, (self._paths.state, self._paths.data)):
            with contextlib.suppress(FileNotFoundError):
                spaces.append(self._fs.space(path))
        if spaces:
            self.space = Space(
                min(s.free_bytes for s in spaces),
                min(s.total_bytes for s in spaces),
                min(s.free_inodes if s.total_inodes else ROOM for s in spaces),
                max(s.total_inodes for s in spaces),
            )
            self._mind_reserve(publishing_fails)

    def _mind_reserve(self, publishing_fails: bool) -> None:
        free = self.space.free_bytes
        if free < max(self._limits.min_free_bytes, self._reserve.size) and publishing_fails:
            if self._reserve.kept:
                log.warning("the disk is full: deleting the reserve file of %d bytes", self._reserve.size)
                self._reserve.give_up()
        elif free > self._limits.resume_free_bytes + self._reserve.size:
            try:
                self._reserve.keep()
            except OSError as error:
                log.warning("cannot keep a reserve file of %d bytes: %s", self._reserve.size, error)
