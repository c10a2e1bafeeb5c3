"""Compacts one file except for its footer and name, so that it can run on a thread of its own.

The next version of a file is the old one, byte for byte, then its rows again. It is written to the staging
directory here; the writer, which knows the number of the commit, adds the footer and publishes it.
"""

import contextlib
import errno
import logging
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from app.disk.durable_file import DurableFile, SyncFailed
from app.disk.durable_fs import DurableFS
from app.parquet.data_file import DataFile
from app.parquet.facts import FileFacts, facts_of
from app.parquet.file_policy import FilePolicy
from app.parquet.laid_again import LaidAgain, LayingPolicy, gains
from app.parquet.wanted import Wanted, matching
from app.publish.background_work import Rest, Stopped
from app.publish.paths import SinkPaths

log = logging.getLogger(__name__)

PIECE_BYTES: Final = 4 << 20
"""Pieces that are synced one after the other: the journal's sync waits for what the file system is writing at
that moment."""


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
    """error: of the disk, so that it may be tried again; None: nothing is to be gained from this file, or it
    cannot be read. why: what is wrong with it, where something is."""

    old: DataFile
    error: OSError | None = None
    why: str = ""


Outcome: TypeAlias = Laid | NotLaid


class _LeftAlone(Exception):
    """The file stays unchanged. The message says why, for the log; empty if that is normal."""


class Layer:
    """name: what staged files begin with. free_bytes_min: what must be free on the disk besides."""

    def __init__(
        self,
        fs: DurableFS,
        paths: SinkPaths,
        root: Path,
        files: FilePolicy,
        policy: LayingPolicy,
        name: str,
        free_bytes_min: int,
    ) -> None:
        self._fs = fs
        self._paths = paths
        self._root = root
        self._files = files
        self._policy = policy
        self._name = name
        self._free_bytes_min = free_bytes_min
        self._serial = 0

    def lay(self, file: DataFile, rest: Rest, without: Wanted | None = None) -> Outcome:
        """without: rows that are left out; then it is done whatever it gains. Raises SyncFailed; Stopped."""
        self._serial += 1
        staged = f"{self._name}-{self._serial:06}.staged"
        try:
            return self._stage(file, staged, rest, without)
        except _LeftAlone as why:
            if str(why):
                log.warning("%s is not compacted and stays as it is: %s", file.path, why)
            outcome = NotLaid(file, why=str(why))
        except FileNotFoundError:  # removed by retention or from outside; there is nothing to compact
            outcome = NotLaid(file)
        except (OSError, pa.ArrowException) as error:
            outcome = self._failed(file, error)
        except Stopped:
            self._unlink(staged)
            raise
        except SyncFailed:
            raise
        except Exception as error:
            log.exception("a bug: %s cannot be compacted and stays as it is", file.path)
            outcome = NotLaid(file, why=str(error))
        self._unlink(staged)
        return outcome

    def find(self, files: Sequence[DataFile], wanted: Wanted, rest: Rest) -> list[DataFile]:
        """The row groups with such rows, and unreadable ones, which may have some."""
        found = []
        for file in files:
            began = time.thread_time()
            try:
                with self._fs.open_for_read(self._root / file.path) as source:
                    if self._has(_opened(source), wanted):
                        found.append(file)
            except FileNotFoundError:
                continue
            except (OSError, pa.ArrowException):
                found.append(file)
            rest(time.thread_time() - began)
        return found

    def _has(self, file: pq.ParquetFile, wanted: Wanted) -> bool:
        columns = [name for name in wanted.columns if name in file.schema_arrow.names]
        for number in range(file.num_row_groups):
            rows = file.read_row_group(number, columns=columns, use_threads=False)
            if matching(rows, wanted).true_count:
                return True
        return False

    def discard(self, laid: Laid) -> None:
        self._unlink(laid.staged)

    def path_of(self, staged: str) -> Path:
        return self._paths.staging(self._fs) / staged

    def _failed(self, file: DataFile, error: OSError | pa.ArrowException) -> NotLaid:
        if isinstance(error, OSError) and error.errno is not None:
            return NotLaid(file, error, str(error))
        log.warning("%s cannot be read, so it is not compacted and stays as it is: %s", file.path, error)
        return NotLaid(file, why=str(error))

    def _unlink(self, staged: str) -> None:
        with contextlib.suppress(OSError):
            self._fs.unlink(self.path_of(staged))

    def _stage(self, file: DataFile, staged: str, rest: Rest, without: Wanted | None) -> Laid:
        path = self._root / file.path
        if self._fs.stat(path).size != file.bytes:
            raise _LeftAlone("it is not what was published")
        with self._fs.open_for_read(path) as source:
            old = _opened(source)
            if without is None and not gains(old.metadata, self._files):
                raise _LeftAlone("")
            facts = self._look(file, old)
            again = LaidAgain(old, file.kind, self._files, self._policy, file.bytes, without)
            target = self.path_of(staged)
            gone = file.final is not None and file.final.given_back
            self._fs.clone(path, target, file.bytes, file.final.dead if file.final and gone else ())
            size, crc = self._write(again, self._fs.open_append(target), rest)
        if again.rows + again.rows_left_out != file.rows:
            raise _LeftAlone(f"it has {again.rows} rows instead of {file.rows}")
        return Laid(file, staged, size, crc, again, facts)

    def _look(self, file: DataFile, old: pq.ParquetFile) -> FileFacts:
        facts = facts_of(old.metadata)
        if facts is None or old.metadata.num_rows != file.rows:
            raise _LeftAlone("it is not what was published")
        free = self._fs.space(self._paths.staging(self._fs)).free_bytes
        if free < self._free_bytes_min + 2 * file.bytes:
            raise OSError(errno.ENOSPC, "there is not enough space on the disk to compact files", file.path)
        return facts

    def _write(self, again: LaidAgain, target: DurableFile, rest: Rest) -> tuple[int, int]:
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


def _opened(source: pa.NativeFile) -> pq.ParquetFile:
    return pq.ParquetFile(
        source, page_checksum_verification=True, pre_buffer=False, arrow_extensions_enabled=True
    )
