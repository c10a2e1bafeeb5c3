"""What the publication log of a partition holds, as JSON."""

from typing import Final

import msgspec

from app.commit.payload import BatchReceipt
from app.parquet.data_file import DataFile, QuarantinedRows

FIRST_NUMBER: Final = 1


class ForeignRecord(msgspec.Struct, frozen=True):
    """A record that is not this service's, kept as it was. path: of its bytes. error: why it is not."""

    path: str
    offset: int
    bytes: int
    error: str


class PublicationEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that records `start` … `to - 1` have become; made before any of its files is placed.

    number: from 1, without gaps. writer: who made it: no two writers make the same bytes.
    start: `to` of the entry before. batches: those with an id that were accepted in this range.
    dropped: batches whose rows were left out because their id and payload had been accepted before, as
    (offset, place among the record's receipts). lost: records that had expired before they were published.
    """

    number: int
    writer: str
    start: int
    to: int
    files: list[DataFile] = []
    quarantined: list[QuarantinedRows] = []
    batches: list[BatchReceipt] = []
    dropped: list[tuple[int, int]] = []
    lost: int = 0
    foreign: list[ForeignRecord] = []

    @property
    def paths(self) -> list[str]:
        """Of everything that is to be placed for it."""
        rows = [file.path for file in self.files] + [rows.path for rows in self.quarantined]
        return rows + [record.path for record in self.foreign]


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Stands for all entries up to `number`, which may be gone.

    files, quarantined, lost, foreign: of the entries since the checkpoint before.
    """

    number: int
    to: int
    files: list[DataFile] = []
    quarantined: list[QuarantinedRows] = []
    lost: int = 0
    foreign: list[ForeignRecord] = []


# Made at import: msgspec fills in what it knows of a class at its first use, and several threads that
# do so at once crash the process. The partitions of a writer are opened side by side.
ENTRIES: Final = msgspec.json.Decoder(PublicationEntry)
CHECKPOINTS: Final = msgspec.json.Decoder(Checkpoint)
