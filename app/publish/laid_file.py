"""Completes a file that was compacted on another thread: its footer, and its record for the manifest."""

import zlib

import msgspec

from app.disk.durable_fs import DurableFS
from app.parquet.data_file import DataFile, FinalForm
from app.parquet.encode import rfc3339
from app.parquet.facts import recovered_in_words, said_of
from app.parquet.row_group import MAGIC
from app.publish.layer import Laid, Layer
from app.publish.rotation import WriterPolicy
from app.publish.staging_directory import Placement


def finished(
    fs: DurableFS, layer: Layer, laid: Laid, policy: WriterPolicy, commit: int, now_ms: int, *, erases: bool
) -> tuple[DataFile, Placement]:
    """Write the footer, durably. commit: the one that is to publish it. erases: whether the old bytes must
    become zeros on every file system. Raises OSError, SyncFailed."""
    old, again = laid.old, laid.rows_again
    form = FinalForm(laid_ms=now_ms, dead=((len(MAGIC), old.bytes),), erases=erases)
    end = again.footer(_facts(laid, form, policy, commit))
    target = fs.open_append(layer.path_of(laid.staged))
    try:
        target.write([end])
        target.sync()
    finally:
        target.close()
    file = msgspec.structs.replace(
        old,
        rows=again.rows,
        bytes=laid.bytes + len(end),
        compression=again.codec,
        updated_at=rfc3339(now_ms),
        sealed=True,
        row_groups=again.row_groups,
        final=form,
    )
    placement = Placement(
        root="data",
        staged=laid.staged,
        path=old.path,
        bytes=file.bytes,
        kept_bytes=old.bytes,
        crc=zlib.crc32(end, laid.crc),
    )
    return file, placement


def _facts(laid: Laid, form: FinalForm, policy: WriterPolicy, commit: int) -> dict[str, str]:
    """The metadata of the new version: that of the old one, except for the commit."""
    old, said = laid.old, laid.facts
    return {
        "journal": policy.journal,
        "flush_offset": str(said.flush_offset),
        "writer": policy.writer_version,
        "kind": old.kind.value,
        "commit": str(commit),
        "rows_commit": str(said.rows_commit),
        "first_lsn": str(old.first_lsn),
        "last_lsn": str(old.last_lsn),
        **recovered_in_words(old.recovered),
        **said_of(form),
    }
