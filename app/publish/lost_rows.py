"""Records of files that are gone or are not what was published, and of the rows that are lost with them.

The partition continues in the next number. Rows that the journal still has at a start are published again.
"""

import msgspec

from app.parquet.data_file import DataFile, FileState, LsnRange
from app.parquet.facts import FileFacts


def record_of_gone(file: DataFile) -> DataFile:
    """A file that is not there any more has none of its rows."""
    return _without_rows(file, 0, file.first_lsn - 1, file.bytes, FileState.REMOVED)


def record_of_changed(file: DataFile, size: int, said: FileFacts | None) -> DataFile:
    """size: the length it has now. said: what its footer says, None if that cannot be read.

    An older version still contains its rows; any other file is unreliable.
    """
    if said is not None and said.last_lsn <= file.last_lsn and said.rows <= file.rows:
        return _without_rows(file, said.rows, said.last_lsn, size, FileState.CHANGED, said.recovered)
    return _without_rows(file, 0, file.first_lsn - 1, size, FileState.CHANGED)


def loss_in_words(file: DataFile) -> str:
    """For the log."""
    what = "gone" if file.state is FileState.REMOVED else "changed since it was published"
    return (
        f"{file.path} is {what}: {file.lost_rows} of its rows (LSN {file.last_lsn + 1} to "
        f"{file.lost_through}) are lost unless the journal still has them; the file is left as it is, and "
        "its partition continues in a new file"
    )


def _without_rows(
    file: DataFile,
    rows: int,
    last_lsn: int,
    size: int,
    state: FileState,
    recovered: tuple[LsnRange, ...] = (),
) -> DataFile:
    """With so many of its rows, of frames up to this one; the others are lost."""
    return msgspec.structs.replace(
        file,
        state=state,
        sealed=True,
        bytes=size,
        rows=rows,
        lost_rows=file.rows - rows + file.lost_rows,
        last_lsn=last_lsn,
        lost_through=max(file.last_lsn, file.lost_through),
        recovered=recovered,
    )
