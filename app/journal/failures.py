"""What can go wrong with a journal."""

from pathlib import Path

import msgspec


class JournalFailed(Exception):
    """A write or sync failed, now or earlier: the journal takes nothing more until the process restarts.

    What the failing call was to write may or may not be found by the next start.
    """


class JournalFull(Exception):
    """No space for this append. Nothing of it is in the journal; it may be tried again when there is room."""


class FrameTooLarge(ValueError):
    """A payload beyond `JournalPolicy.max_frame_bytes`; nothing was written."""


class Damage(msgspec.Struct, frozen=True):
    """Bytes that should hold acknowledged frames and do not.

    file: a segment or the state file; it may be missing altogether.
    start, end: byte range in the file; equal where no byte of it is to blame (a missing file, a lost tail).
    first_lsn, last_lsn: frames that are lost; first above last where none is.
    open_ended: this is the end of the journal, and frames above last_lsn may be lost that nothing tells of.
    misplaced: the whole file is not what its name says; repair moves it away.
    """

    file: Path
    start: int
    end: int
    first_lsn: int
    last_lsn: int
    reason: str
    open_ended: bool = False
    misplaced: bool = False

    def __str__(self) -> str:
        lost = f"LSN {self.first_lsn} to {self.last_lsn}" if self.first_lsn <= self.last_lsn else "no LSN"
        lost += f", and maybe others from {self.last_lsn + 1} on," if self.open_ended else ""
        return f"{self.file} at offset {self.start}: {self.reason} ({lost} affected)"


class JournalDamaged(Exception):
    """Acknowledged data is damaged or missing; `parquet-sink repair` records the loss and goes on."""

    def __init__(self, damages: list[Damage]) -> None:
        more = f" (and {len(damages) - 1} more places)" if len(damages) > 1 else ""
        super().__init__(
            f"journal damaged: {damages[0]}{more}; copy the directory, examine it, then run `parquet-sink "
            "repair`, which records what is lost and keeps the rest"
        )
        self.damages = damages
