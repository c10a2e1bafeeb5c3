"""Lays files again, one after the other, beside the writer thread: everything but the footer and the name.

The next version of a file is the old one, byte for byte, then its rows again. It is written to the staging
directory here; the writer, which knows the number of the commit, adds the footer and publishes it.
"""

import contextlib
import errno
import logging
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from app.disk.durable_file import DurableFile, SyncFailed
from app.disk.durable_fs import DurableFS
from app.parquet.data_file import DataFile
from app.parquet.facts import FileFacts, facts_of
from app.parquet.file_policy import FilePolicy
from app.parquet.laid_again import LaidAgain, OtherColumns, gains
from app.publish.final_policy import FinalPolicy
from app.publish.paths import SinkPaths

log = logging.getLogger(__name__)

PIECE_BYTES: Final = 4 << 20
"""Synced one after the other: the journal's sync waits for what the file system is writing at that moment."""

PAUSE_S_MAX: Final = 10.0
"""After one step, whatever it took: a clock that jumps must not stop the laying."""

STOP_S: Final = 1.0
"""How long a stop waits for the step under way."""


class Laid(msgspec.Struct, frozen=True):
    """A file that is staged but for its footer. staged: its name there. bytes: its length so far.
    crc: CRC-32 of what stands behind the old version. facts: what that said of itself."""

    old: DataFile
    staged: str
    bytes: int
    crc: int
    rows_again: LaidAgain
    facts: FileFacts


class NotLaid(msgspec.Struct, frozen=True):
    """error: of the disk, so that it may be tried again; None: there is nothing to be gained from this file,
    or it cannot be read."""

    old: DataFile
    error: OSError | None = None


Outcome: TypeAlias = Laid | NotLaid


class _Stopped(Exception):
    """The service is stopping."""


class _LeftAlone(Exception):
    """The file stays as it is. The message says why, for the log; empty where that is as it should be."""


class Layer:
    """`begin` and `outcome` are called by the writer thread. Without `start` all is done within `begin`."""

    def __init__(
        self, fs: DurableFS, paths: SinkPaths, root: Path, files: FilePolicy, policy: FinalPolicy
    ) -> None:
        self._fs = fs
        self._paths = paths
        self._root = root
        self._files = files
        self._policy = policy
        self._tasks: SimpleQueue[DataFile | None] = SimpleQueue()  # one at a time
        self._outcomes: SimpleQueue[Outcome | BaseException] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._serial = 0
        self.is_busy = False

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="final-form", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """What is under way is given up; the next start does it again."""
        self._stopping.set()
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join(STOP_S)

    def begin(self, file: DataFile) -> None:
        self.is_busy = True
        if self._thread is None:
            self._outcomes.put(self._lay(file, lambda seconds: None))
        else:
            self._tasks.put(file)

    def outcome(self) -> Outcome | None:
        """What has become of the file that was begun; None while that is not known. Raises SyncFailed."""
        try:
            outcome = self._outcomes.get_nowait()
        except Empty:
            return None
        self.is_busy = False
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def discard(self, laid: Laid) -> None:
        with contextlib.suppress(OSError):
            self._fs.unlink(self.path_of(laid.staged))

    def path_of(self, staged: str) -> Path:
        return self._paths.staging(self._fs) / staged

    def _run(self) -> None:
        while (file := self._tasks.get()) is not None:
            try:
                self._outcomes.put(self._lay(file, self._rest))
            except _Stopped:
                return
            except BaseException as error:
                self._outcomes.put(error)

    def _rest(self, worked_s: float) -> None:
        """Leave the core to others, for as long as the share says."""
        pause_s = worked_s * (1 - self._policy.share) / self._policy.share
        if self._stopping.wait(min(pause_s, PAUSE_S_MAX)):
            raise _Stopped

    def _lay(self, file: DataFile, rest: Callable[[float], None]) -> Outcome:
        self._serial += 1
        staged = f"final-{self._serial:06}.staged"
        try:
            return self._stage(file, staged, rest)
        except _LeftAlone as why:
            if str(why):
                log.warning("%s is not laid again, and stays as it is: %s", file.path, why)
            outcome = NotLaid(file)
        except FileNotFoundError:  # removed by retention or by somebody; there is nothing to be laid again
            outcome = NotLaid(file)
        except (OSError, pa.ArrowException) as error:
            outcome = self._failed(file, error)
        except _Stopped:
            self._unlink(staged)
            raise
        except SyncFailed:
            raise
        except Exception:
            log.exception("a bug: %s cannot be laid again, and stays as it is", file.path)
            outcome = NotLaid(file)
        self._unlink(staged)
        return outcome

    def _failed(self, file: DataFile, error: OSError | pa.ArrowException) -> NotLaid:
        if isinstance(error, OSError) and error.errno is not None:
            return NotLaid(file, error)
        log.warning("%s cannot be read, so it is not laid again, and stays as it is: %s", file.path, error)
        return NotLaid(file)

    def _unlink(self, staged: str) -> None:
        with contextlib.suppress(OSError):
            self._fs.unlink(self.path_of(staged))

    def _stage(self, file: DataFile, staged: str, rest: Callable[[float], None]) -> Laid:
        path = self._root / file.path
        if self._fs.stat(path).size != file.bytes:
            raise _LeftAlone("it is not what was published")
        with self._fs.open_for_read(path) as source:
            old = pq.ParquetFile(
                source, page_checksum_verification=True, pre_buffer=False, arrow_extensions_enabled=True
            )
            facts = self._look(file, old)
            try:
                again = LaidAgain(old, file.kind, self._files, self._policy.laying, file.bytes)
            except OtherColumns:
                raise _LeftAlone("") from None  # it was written under another configuration
            target = self.path_of(staged)
            self._fs.clone(path, target, file.bytes)
            size, crc = self._write(again, self._fs.open_append(target), rest)
        if again.rows != file.rows:
            raise _LeftAlone(f"it has {again.rows} rows instead of {file.rows}")
        return Laid(file, staged, size, crc, again, facts)

    def _look(self, file: DataFile, old: pq.ParquetFile) -> FileFacts:
        metadata = old.metadata
        if not gains(metadata, self._files):
            raise _LeftAlone("")
        facts = facts_of(metadata)
        if facts is None or metadata.num_rows != file.rows:
            raise _LeftAlone("it is not what was published")
        free = self._fs.space(self._paths.staging(self._fs)).free_bytes
        if free < self._policy.free_bytes_min + 2 * file.bytes:
            raise OSError(errno.ENOSPC, "there is not enough room on the disk to lay files again", file.path)
        return facts

    def _write(self, again: LaidAgain, target: DurableFile, rest: Callable[[float], None]) -> tuple[int, int]:
        """The new length, and the CRC-32 of what was written."""
        crc, began = 0, time.thread_time()
        try:
            for data in again.steps():
                if data is not None:
                    crc = zlib.crc32(data, crc)
                    for start in range(0, len(data), PIECE_BYTES):
                        target.write([data[start : start + PIECE_BYTES]])
                        target.datasync()
                rest(time.thread_time() - began)
                began = time.thread_time()
            return target.size, crc
        finally:
            target.close()
