"""Rebuilds usage at a start from the saved days and later frames of the journal."""

from typing import Final

import pyarrow as pa

from app.commit.usage import Usage
from app.kinds import Kind
from app.parquet.division import split
from app.publish.manifest import Manifest
from app.publish.rotation import WriterPolicy
from app.run.usage_files import UsageFiles, count_published

OPEN_DAYS: Final = 2
"""Days whose usage may have been saved although the journal's last frame was lost."""


class UsageReplay:
    """If there is no usage yet, it starts with the rows of the files. policy: of the partitions."""

    def __init__(self, usage: Usage, files: UsageFiles, manifest: Manifest, policy: WriterPolicy) -> None:
        self._usage = usage
        self._files = files
        self._manifest = manifest
        self._policy = policy
        files.settle()
        self._begins = files.is_new
        if self._begins:
            count_published(usage, manifest.files())

    def count(self, lsn: int, kind: Kind, rows: pa.RecordBatch, *, is_new: bool) -> None:
        """A frame of the journal. is_new: whether its rows were accepted with it, not carried over."""
        if not self._begins:
            if is_new:
                self._usage.add_again(lsn, kind, rows)
            return
        carried = self._manifest.carried_to(lsn)
        divided = (
            [(carried, rows)]
            if carried is not None
            else split(rows, kind, self._policy.rotation, self._policy.placings.at(lsn))
        )
        for partition, part in divided:
            if not self._manifest.is_published(partition, lsn):
                self._usage.add_again(lsn, kind, part)

    def end(self, last_lsn: int) -> None:
        """All frames are counted; last_lsn: of the journal. Raises OSError, SyncFailed."""
        self._usage.end_replay(last_lsn, self._files.days()[-OPEN_DAYS:])
        if self._begins:
            self._files.save(self._usage)
