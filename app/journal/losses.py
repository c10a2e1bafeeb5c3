"""What a repair has found to be lost: one JSON object per line, for operators and for the reader to skip."""

from pathlib import Path
from typing import Final

import msgspec

from app.disk.durable_fs import DurableFS
from app.journal.failures import Damage

LOSSES_NAME: Final = "losses.jsonl"


class Loss(msgspec.Struct, frozen=True):
    """One damaged place that was given up. file: name inside the journal. Otherwise as in `Damage`.

    salt: of the segment's frames, so that they can be read even where its first frame is what was lost.
    """

    file: str
    start: int
    end: int
    first_lsn: int
    last_lsn: int
    reason: str
    open_ended: bool = False
    salt: int = 0


def as_loss(damage: Damage, salt: int) -> Loss:
    fields = msgspec.structs.asdict(damage)
    del fields["misplaced"]
    return Loss(**{**fields, "file": damage.file.name, "salt": salt})


def read_losses(fs: DurableFS, directory: Path) -> list[Loss]:
    """Raises ValueError, naming the file, when it cannot be read."""
    path = directory / LOSSES_NAME
    try:
        data = fs.read(path)
    except FileNotFoundError:
        return []
    try:
        return msgspec.json.Decoder(list[Loss]).decode(b"[" + b",".join(data.split(b"\n")[:-1]) + b"]")
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def write_losses(fs: DurableFS, directory: Path, losses: list[Loss]) -> None:
    lines = b"".join([msgspec.json.encode(loss) + b"\n" for loss in losses])
    fs.write_atomically(directory / LOSSES_NAME, lines)
