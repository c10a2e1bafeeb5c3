"""The protection itself, taken away piece by piece in a copy of the sources: the suite must fail for each.

    python -m tests.torture.mutants                  all, with a control of each catcher
    python -m tests.torture.mutants --only "intent"  those whose name holds this
    python -m tests.torture.mutants --list           the table for docs/durability.md, without a run

A catcher is a part of the suite: tests, or a campaign with its seed there, and at most its size. It must
pass where nothing is taken away.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from tests.torture.mutation import Mutant, Outcome, attempt, control, table

JOURNAL_POWER: Final = "tests.journal.campaigns power_loss --seed 1 --size 1000 --until-violated"
JOURNAL_CRASH: Final = "tests.journal.campaigns crash_everywhere --seed 1 --size 2 --until-violated"
JOURNAL_ERROR: Final = "tests.journal.campaigns error_everywhere --seed 1 --size 1 --until-violated"
JOURNAL_CORRUPT: Final = "tests.journal.campaigns corrupt_everything --seed 1 --size 1 --until-violated"
WHOLE_POWER: Final = "tests.torture.whole_service power_loss --seed 20261122 --size 1000 --until-violated"
WHOLE_FAULT: Final = "tests.torture.whole_service any_fault --seed 20261122 --size 400 --until-violated"
WHOLE_FAULT_1: Final = "tests.torture.whole_service any_fault --seed 1 --size 60 --until-violated"
WHOLE_SYNCS: Final = "tests.torture.whole_service failed_syncs --seed 20261122 --size 5 --until-violated"
WHOLE_BLOCKED: Final = (
    "tests.torture.whole_service any_fault_while_blocked --seed 20261122 --size 60 --until-violated"
)
WHOLE_MODEL: Final = "tests.torture.whole_service model --seed 20261122 --size 60 --until-violated"
FRAME: Final = "pytest tests/journal/test_frame.py"
JOURNAL: Final = "pytest tests/journal/test_journal.py"
FS: Final = "pytest tests/test_durable_fs.py"
STORE: Final = "tests.object_store.fault_campaign --faults 30 --seed 1"
READING_BACK: Final = "pytest tests/parquet/test_reading_back.py"
ADMISSION: Final = "pytest tests/test_admission.py"
WRITER: Final = "pytest tests/parquet/test_writer.py tests/parquet/test_recovery.py"
GROUP_COMMIT: Final = "pytest tests/test_commit.py"
CARRIED: Final = "pytest tests/http/test_carried_over.py"
FAULTS: Final = "pytest tests/http/test_faults.py"
PROPOSALS: Final = "pytest tests/workers/test_proposal.py"
USAGE: Final = "pytest tests/test_usage_account.py"
DUPLICATES: Final = "pytest tests/http/test_deduplication.py"

RETENTION_POWER: Final = "tests.parquet.crash_campaign power_loss --seed 1 --size 600 --retention"
RETENTION: Final = "pytest tests/parquet/test_retention.py"

FINAL_POWER: Final = "tests.parquet.crash_campaign power_loss --seed 1 --size 600 --final"
FINAL: Final = "pytest tests/parquet/test_final_form.py"
FORGET_POWER: Final = "tests.parquet.crash_campaign power_loss --seed 20261127 --size 300 --forget"
FORGET: Final = "pytest tests/parquet/test_forgetting.py"

QUESTIONS: Final = "pytest tests/query/test_ask_over_http.py -k workspace"

PAGES: Final = "pytest tests/http/test_pages.py -k directory"

STORES: Final = {"journal": "Setting", "workers": "OverASocket", "Kafka": "Records"}
"""The stores of group commit, and the settings of its suite."""


def once_a_store(name: str, file: str, text: str, replacement: str) -> tuple[Mutant, ...]:
    """One mutant of the commit path, to be caught with each store by itself."""
    return tuple(
        Mutant(f"{name}: {store}", file, text, replacement, f"{GROUP_COMMIT} -k {setting}")
        for store, setting in STORES.items()
    )


MUTANTS: Final = (
    # --- syncs ---
    Mutant(
        "append: no fdatasync of the group",
        "app/journal/journal.py",
        "return Appended(first, last, written, self._datasync())",
        "return Appended(first, last, written, 0.0)",
        JOURNAL_POWER,
    ),
    Mutant(
        "new segment: no fdatasync of its first frame",
        "app/journal/segment.py",
        "            self._file.datasync()\n            fs.sync_directory",
        "            fs.sync_directory",
        JOURNAL_POWER,
    ),
    Mutant(
        "new segment: no sync of the directory",
        "app/journal/segment.py",
        "            fs.sync_directory(directory)\n",
        "",
        JOURNAL_POWER,
    ),
    Mutant(
        "full disk: the cut is not synced",
        "app/journal/segment.py",
        "        self._file.truncate(self.segment.end)\n        self._file.datasync()\n",
        "        self._file.truncate(self.segment.end)\n",
        JOURNAL_ERROR,
    ),
    Mutant(
        "full disk: a partial write is not cut back",
        "app/journal/segment.py",
        "        self._file.truncate(self.segment.end)\n        self._file.datasync()\n",
        "        self._file.size = self.segment.end\n",
        JOURNAL_ERROR,
    ),
    Mutant(
        "recovery: what is in the page cache is not synced",
        "app/journal/recovery.py",
        "        fs.sync_file(path)\n",
        "",
        JOURNAL_CRASH,
    ),
    Mutant(
        "recovery: the journal is read from the page cache",
        "app/journal/recovery.py",
        "        fs.drop_cached(path)\n",
        "",
        JOURNAL_ERROR,
    ),
    Mutant(
        "atomic write: the file is not synced",
        "app/disk/durable_fs.py",
        "            file.sync()\n",
        "            pass\n",
        JOURNAL_POWER,
    ),
    Mutant(
        "atomic write: the directory is not synced",
        "app/disk/durable_fs.py",
        "            self.sync_directory(path.parent)\n        except OSError as error:",
        "            pass\n        except OSError as error:",
        WHOLE_POWER,
    ),
    Mutant(
        "new directory: its parent is not synced",
        "app/disk/durable_fs.py",
        "            self.sync_directories(_parents(level))\n",
        "",
        WHOLE_POWER,
    ),
    Mutant(
        "staged file: not synced",
        "app/publish/staging_directory.py",
        "            self._fs.sync_files(files.values())\n",
        "            pass\n",
        WHOLE_POWER,
    ),
    Mutant(
        "renamed files: their directories are not synced",
        "app/publish/local_directory.py",
        "        self._fs.sync_directories(list(dict.fromkeys(in_place)))\n",
        "",
        WHOLE_POWER,
    ),
    Mutant(
        "retention: a deleted file's directory is not synced",
        "app/publish/local_directory.py",
        "            self._fs.sync_directory(directory)\n            try:",
        "            try:",
        RETENTION_POWER,
    ),
    Mutant(
        "placing: frames that wait are divided as is configured now",
        "app/parquet/placing.py",
        "if change.from_lsn <= lsn)",
        "if lsn)",
        "pytest tests/http/test_happened.py -k whatever_is_configured",
    ),
    Mutant(
        "retention: a removed partition is forgotten while the journal has its rows",
        "app/publish/retention.py",
        "            if record.last_lsn < first_lsn:\n",
        "            if first_lsn:\n",
        RETENTION,
    ),
    Mutant(
        "retention: a start takes a file that is still to be deleted for somebody else's",
        "app/publish/interrupted.py",
        "            listing.files.pop(path, None)\n",
        "            pass\n",
        RETENTION,
    ),
    Mutant(
        "manifest: the commit is not synced",
        "app/publish/manifest.py",
        "        log.datasync()\n",
        "",
        FORGET_POWER,
    ),
    Mutant(
        "a failed sync is taken for a good one",
        "app/disk/durable_file.py",
        '            raise SyncFailed("fdatasync", self.path, error) from error\n',
        "            pass\n",
        FS,
    ),
    Mutant(
        "syncs side by side: their failures are not raised",
        "app/disk/durable_fs.py",
        "        if failures:\n",
        "        if False:\n",
        FS,
    ),
    Mutant(
        "after a failed sync the journal goes on",
        "app/journal/journal.py",
        "        self._failure = str(error)\n",
        "        pass\n",
        JOURNAL,
    ),
    # --- checksums and evidence ---
    Mutant(
        "frame: the header's CRC is not checked",
        "app/journal/frame.py",
        "    if zlib.crc32(view[offset + _PREFIX.size : offset + HEADER_BYTES]) != header_crc:\n",
        "    if False:\n",
        JOURNAL_CORRUPT,
    ),
    Mutant(
        "frame: the payload's CRC is not checked",
        "app/journal/frame.py",
        "    return zlib.crc32(frame[HEADER_BYTES:end]) == header.payload_crc and not any(frame[end:])\n",
        "    return True\n",
        JOURNAL_CORRUPT,
    ),
    Mutant(
        "frame: a length beyond the limit is believed",
        "app/journal/frame.py",
        " or zeros or length > FRAME_BYTES_MAX:",
        " or zeros:",
        FRAME,
    ),
    Mutant(
        "recovery: a frame inside a payload is believed, whatever its salt",
        "app/journal/segment_reader.py",
        "if header is not None and salt in (None, header.salt):",
        "if header is not None:",
        JOURNAL,
    ),
    Mutant(
        "recovery: every hole is taken for a torn tail",
        "app/journal/scan.py",
        "    return all(header.durable_lsn < lsn for",
        "    return True or all(header.durable_lsn < lsn for",
        JOURNAL_CORRUPT,
    ),
    Mutant(
        "recovery: a journal that ends before the manifest is taken",
        "app/journal/inspection.py",
        "    if found.last_lsn < known_lsn:\n",
        "    if False:\n",
        JOURNAL,
    ),
    Mutant(
        "without syncs: LSNs are used twice after a power cut",
        "app/journal/recovery.py",
        "    found.known_lsn = known_lsn\n",
        "",
        JOURNAL,
    ),
    Mutant(
        "manifest: CRCs of records are not checked",
        "app/publish/manifest.py",
        '    if crc != b"%08x" % zlib.crc32(body):\n        return None\n',
        "",
        WRITER,
    ),
    Mutant(
        "intent: its CRC is not checked",
        "app/publish/intent.py",
        '    if crc != b"%08x" % zlib.crc32(body):\n',
        "    if False:\n",
        WRITER,
    ),
    Mutant(
        "roll forward: neither size nor hash of a file is looked at",
        "app/publish/local_directory.py",
        "        if fs.stat(path).size != placement.bytes:\n            return False\n",
        "        fs.stat(path)\n        return True\n",
        "tests.parquet.crash_campaign power_loss --seed 20260102 --size 300",
    ),
    # --- order and intent ---
    Mutant(
        "recovery: an intent is not rolled forward",
        "app/publish/interrupted.py",
        "                self._finish(intent)\n",
        "                pass\n",
        WHOLE_FAULT_1,
    ),
    Mutant(
        "recovery: leftovers of staging stay",
        "app/publish/interrupted.py",
        "                    self._fs.unlink(place / name)\n",
        "",
        "tests.parquet.crash_campaign any_fault --seed 20260102 --size 60",
    ),
    Mutant(
        "carried over: frames count before the manifest says so",
        "app/run/replay.py",
        "    return header.origin is None or manifest.counts(lsn)\n",
        "    return True\n",
        WHOLE_BLOCKED,
    ),
    Mutant(
        "carried over: rows count for usage again",
        "app/run/usage_replay.py",
        "            if is_new:\n",
        "            if True:\n",
        WHOLE_BLOCKED,
    ),
    Mutant(
        "carried over: a manifest that was lost does not know where rows went",
        "app/run/local_service.py",
        "        recall_carried(journal, manifest)\n",
        "",
        CARRIED,
    ),
    Mutant(
        "a partition that fails keeps the journal from being trimmed",
        "app/run/local_service.py",
        "        writer.carrier.begin(appending_to(journal))\n",
        "",
        CARRIED,
    ),
    Mutant(
        "replay: rows that are published are put again",
        "app/publish/unpublished.py",
        "            if not any(self._manifest.is_published(hourly.under(each), lsn) for each in Rotation)",
        "            if True",
        WHOLE_MODEL,
    ),
    Mutant(
        "reading back: rows of a frame that was published meanwhile are read again",
        "app/publish/reading_back.py",
        "                if waiting is None or not waiting.first_lsn <= lsn <= waiting.journal_through:\n",
        "                if waiting is None:\n",
        READING_BACK,
    ),
    Mutant(
        "reading back: rows that the journal does not have are passed over",
        "app/publish/reading_back.py",
        "            if everything and read.rows != rows.rows_in_journal:\n",
        "            if False:\n",
        READING_BACK,
    ),
    Mutant(
        "reading back: rows that are put back are kept behind newer ones in the journal",
        "app/publish/buffer.py",
        "            self.let_go()\n            self.rows_in_journal += later.rows_in_journal\n",
        "            self.rows_in_journal += later.rows_in_journal\n",
        READING_BACK,
    ),
    Mutant(
        "journal trimmed before rows are published",
        "app/publish/writer.py",
        "        through = min(waiting) - 1 if waiting else self._last_lsn\n",
        "        through = self._last_lsn\n",
        WHOLE_MODEL,
    ),
    Mutant(
        "trim: the state is not written first",
        "app/journal/journal.py",
        "                self._write_state(trimmed_lsn=doomed[-1].last_lsn)\n",
        "",
        JOURNAL_CRASH,
    ),
    Mutant(
        "trim: batch ids are not saved before their frames go",
        "app/run/local_service.py",
        "            self._fs.write_atomically(self._window_path, window.dump())\n",
        "            pass\n",
        DUPLICATES,
    ),
    Mutant(
        "trim: usage is not saved before its frames go",
        "app/run/local_service.py",
        "            self.accounts.save()\n",
        "            pass\n",
        WHOLE_MODEL,
    ),
    Mutant(
        "start: usage counts frames that are counted",
        "app/commit/usage.py",
        "                if lsn > known.through:\n",
        "                if lsn > 0:\n",
        WHOLE_MODEL,
    ),
    Mutant(
        "start: usage keeps LSNs of frames that are lost",
        "app/commit/usage.py",
        "                if known.through > last_lsn:\n",
        "                if known.through > last_lsn + (1 << 40):\n",
        USAGE,
    ),
    Mutant(
        "replay: batch ids are not remembered",
        "app/run/replay.py",
        "        window.remember(entry.lsn, frame.header.receipts, frame.header.messages)\n",
        "",
        DUPLICATES,
    ),
    *once_a_store(
        "duplicates: the payload is not compared",
        "app/commit/settle.py",
        "            same = before.digest == batch.digest\n",
        "            same = True\n",
    ),
    *once_a_store(
        "a group that was not stored is answered as durable",
        "app/commit/pipeline.py",
        "        except NotStored as why:\n            self._refuse(group, why)\n            return\n",
        "        except NotStored:\n            sync_seconds = 0.0\n",
    ),
    *once_a_store(
        "after a failure the next group is stored",
        "app/commit/pipeline.py",
        '            self._refuse(group, NotStored("outcome_unknown"))\n            raise\n',
        '            self._refuse(group, NotStored("outcome_unknown"))\n            return\n',
    ),
    Mutant(
        "a commit that failed is answered as durable",
        "app/commit/pipeline.py",
        '            self._refuse(group, NotStored("outcome_unknown"))\n            raise\n',
        "            sync_seconds = 0.0\n",
        WHOLE_FAULT,
    ),
    # --- several processes ---
    Mutant(
        "workers: one outlives the process that it works for",
        "app/workers/remote_store.py",
        '            log.exception("this worker cannot continue")\n        self._lose()\n',
        '            log.exception("this worker cannot continue")\n',
        GROUP_COMMIT,
    ),
    Mutant(
        "workers: batch ids of groups under way are not compared",
        "app/commit/settle.py",
        "seen.batches.get(key) or window.find(*key)",
        "window.find(*key)",
        PROPOSALS,
    ),
    Mutant(
        "workers: a frame is journalled with its duplicates",
        "app/commit/settle.py",
        "    if all(outcomes[owner].is_new and not outcomes[owner].repeated for owner in frame.owners):\n",
        "    if True:\n",
        PROPOSALS,
    ),
    # --- a fault stays where it is ---
    Mutant(
        "tree: files of another journal are taken for one's own",
        "app/publish/ownership.py",
        "    if owner is not None and (known is None or owner.journal != known.journal):\n",
        "    if False:\n",
        f"{FAULTS} -k second_service_on_one_tree",
    ),
    Mutant(
        "partitions: one that cannot be staged holds up the others",
        "app/publish/publisher.py",
        "                self._failed_alone(rows.partition, error)\n                left.append(rows)\n",
        "                self._failed(error)\n                left += taken[index:]\n                break\n",
        f"{FAULTS} -k cannot_be_written_harms_itself_alone",
    ),
    Mutant(
        "partitions: one whose file cannot have its name holds up the others",
        "app/publish/publisher.py",
        "        except NotPlaced as error:\n"
        "            self._leave_out(pending, error)\n            return []\n",
        "",
        f"{FAULTS} -k another_file_system",
    ),
    Mutant(
        "files: a footer that cannot be read ends the writer",
        "app/publish/stage.py",
        "            except (OSError, pa.ArrowException) as error:\n",
        "            except FileNotFoundError as error:\n",
        f"{FAULTS} -k flipped_in_todays_footer",
    ),
    Mutant(
        "manifest: files of another journal are adopted",
        "app/publish/reconcile.py",
        "        return said.journal in known.journals and (",
        "        return (",
        WRITER,
    ),
    Mutant(
        "manifest: rows that a lost file had are not published again",
        "app/publish/manifest.py",
        "            return not any(lsn in gap for gap in self._gaps.get(partition, ()))\n",
        "            return True\n",
        WRITER,
    ),
    Mutant(
        "manifest: one that is older than the intent beside it is taken as it is",
        "app/publish/interrupted.py",
        "intent.commit.id > last_commit + 1\n",
        "intent.commit.id < 0\n",
        WRITER,
    ),
    Mutant(
        "files: one that cannot grow since it is gone keeps its rows in the account",
        "app/publish/stage.py",
        "            found = record_of_gone(latest)\n",
        "            found = msgspec.structs.replace(latest, sealed=True, state=FileState.REMOVED)\n",
        WRITER,
    ),
    Mutant(
        "recovered rows: their file does not say which older frames it has",
        "app/publish/stage.py",
        "            **recovered_in_words(joined(old.recovered if old else (), span.recovered)),\n",
        "",
        WRITER,
    ),
    Mutant(
        "recovered rows: the manifest does not know which file has them now",
        "app/publish/gaps.py",
        "((file.first_lsn, file.last_lsn), *file.recovered)",
        "((file.first_lsn, file.last_lsn),)",
        WRITER,
    ),
    Mutant(
        "recovered rows: a file ends where the older rows do that it gets",
        "app/parquet/filling.py",
        "max(old.last_lsn, last_lsn) if old else last_lsn",
        "last_lsn",
        WRITER,
    ),
    Mutant(
        "recovered rows: their file says that it ends where they do",
        "app/publish/stage.py",
        "str(max(old.last_lsn, span.last_lsn) if old else span.last_lsn)",
        "str(span.last_lsn)",
        WRITER,
    ),
    # --- names, locks, bounds ---
    Mutant("create: an existing file is overwritten", "app/disk/durable_fs.py", " | os.O_EXCL", "", FS),
    Mutant(
        "short writes are not continued",
        "app/disk/durable_file.py",
        "        while start < len(queue):\n",
        "        for _ in range(1):\n",
        FS,
    ),
    Mutant(
        "the data directory is not locked",
        "app/disk/durable_fs.py",
        "            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "",
        FS,
    ),
    Mutant(
        "two mounts of one file system are taken for one",
        "app/disk/durable_fs.py",
        " and self._mount(a) == self._mount(b)\n",
        "\n",
        FS,
    ),
    Mutant(
        "an append takes frames of any size",
        "app/journal/journal.py",
        "        if not lengths or max(lengths) > self._policy.max_frame_bytes:\n",
        "        if not lengths:\n",
        JOURNAL,
    ),
    Mutant(
        "admission: bytes in flight are not limited",
        "app/commit/admission.py",
        "        if self._inflight + size > self._policy.max_inflight_bytes:\n",
        "        if False:\n",
        ADMISSION,
    ),
    Mutant(
        "admission: a workspace's bytes in flight are not limited",
        "app/commit/admission.py",
        "        if self._by_workspace[workspace_id] + size > self._inflight_max(workspace_id, size):\n",
        "        if False:\n",
        ADMISSION,
    ),
    Mutant(
        "admission: a workspace's part of the journal is not limited",
        "app/commit/admission.py",
        "        if levels.journal_bytes > most and self._journal_of(workspace_id) > most:\n",
        "        if False:\n",
        ADMISSION,
    ),
    Mutant(
        "admission: the journal's size is not limited",
        "app/commit/admission.py",
        "        if levels.journal_bytes > policy.max_journal_bytes:\n",
        "        if False:\n",
        ADMISSION,
    ),
    Mutant(
        "admission: a full disk is not refused",
        "app/commit/admission.py",
        "        if self._disk_is_full:\n            return",
        "        if False:\n            return",
        ADMISSION,
    ),
    # --- object stores ---
    Mutant(
        "upload: an object that is there is replaced",
        "app/object_store/store.py",
        'mode="create" if conditional else "overwrite"',
        'mode="overwrite"',
        STORE,
    ),
    Mutant(
        "upload: an object of that name is taken for ours",
        "app/object_store/store.py",
        "facts.size != size or self.crc(path, size) != crc",
        "False",
        STORE,
    ),
    Mutant(
        "upload: a failure is not raised",
        "app/publish/bucket.py",
        "                raise failure",
        "                pass",
        STORE,
    ),
    # --- the final form ---
    Mutant(
        "laid again: the old bytes go before the grace is over",
        "app/publish/giving_back.py",
        "return self._timer() >= laid_at + self._grace_ms",
        "return True",
        FINAL,
    ),
    Mutant(
        "laid again: a byte too far is given back",
        "app/publish/giving_back.py",
        "self._fs.punch(path, start, stop)",
        "self._fs.punch(path, start, stop + 1)",
        FINAL,
    ),
    Mutant(
        "laid again: the magic bytes at the beginning are given back",
        "app/publish/giving_back.py",
        "self._fs.punch(path, start, stop)",
        "self._fs.punch(path, 0, stop)",
        FINAL,
    ),
    Mutant(
        "laid again: what is punched is not looked at before",
        "app/publish/giving_back.py",
        "is_ours = self._fs.stat(path).size == file.bytes and self._is_dead(path, form)",
        "is_ours = True",
        FINAL,
    ),
    Mutant(
        "laid again: the footer has its name before the bytes are on the disk",
        "app/publish/laid_file.py",
        "        target.sync()\n",
        "",
        FINAL_POWER,
    ),
    Mutant(
        "laid again: a file that was removed meanwhile comes back",
        "app/publish/final_form.py",
        "elif self._manifest.find(outcome.old.path) != outcome.old:",
        "elif False:",
        FINAL,
    ),
    Mutant(
        "laid again: the file does not say which of its bytes are dead",
        "app/publish/laid_file.py",
        "        **said_of(form),\n",
        "",
        FINAL,
    ),
    Mutant(
        "laid again: it is taken for the beginning of a commit that was cut off",
        "app/publish/reconcile.py",
        "begins_within = said.flush_offset and said.final is None",
        "begins_within = said.flush_offset",
        FINAL,
    ),
    Mutant(
        "laid again: damaged pages are carried over",
        "app/publish/layer.py",
        "page_checksum_verification=True",
        "page_checksum_verification=False",
        FINAL,
    ),
    # --- forgetting ---
    Mutant(
        "forget: old bytes stay where the file system has no holes",
        "app/publish/giving_back.py",
        "if error.errno not in NO_HOLES or not form.erases:",
        "if True:",
        FORGET,
    ),
    Mutant(
        "forget: the rows do not count as removed",
        "app/publish/publisher.py",
        "removed_rows=list(removed)",
        "removed_rows=[]",
        FORGET,
    ),
    Mutant(
        "forget: a start does not count what a kill left uncounted",
        "app/publish/interrupted.py",
        "removed_rows=[] if lost else intent.commit.removed_rows",
        "removed_rows=[]",
        FORGET,
    ),
    Mutant(
        "forget: a file that has grown meanwhile loses its new rows",
        "app/publish/forgetting.py",
        "elif now != outcome.old:",
        "elif False:",
        FORGET,
    ),
    Mutant(
        "forget: the journal keeps its newest segment",
        "app/run/forget.py",
        "    parts.journal.roll()\n",
        "",
        "pytest tests/http/test_forget.py",
    ),
    # --- questions ---
    Mutant(
        "question: DuckDB may open files",
        "app/query/locked.py",
        '"enable_external_access": "false"',
        '"enable_external_access": "true"',
        QUESTIONS,
    ),
    Mutant(
        "question: files of every workspace",
        "app/query/snapshot.py",
        "        if self.workspace_id is not None and file.workspace_id != self.workspace_id:",
        "        if False:",
        QUESTIONS,
    ),
    Mutant(
        "question: unpublished rows of every workspace",
        "app/query/snapshot.py",
        "selection.workspace_id in (None, partition.workspace_id)",
        "True",
        QUESTIONS,
    ),
    # --- pages ---
    Mutant(
        "pages: a session counts for what a page of another origin sends",
        "app/api/admin_auth.py",
        "                refuse_unless_own_origin(headers)\n",
        "                pass\n",
        PAGES,
    ),
    Mutant(
        "pages: the cookie comes along from other sites",
        "app/api/sessions.py",
        "SameSite=Strict",
        "SameSite=None",
        PAGES,
    ),
    Mutant(
        "pages: a key reads what another workspace was refused",
        "app/api/status.py",
        "wanted = authorise(request.scope).narrow(workspace_id)",
        "wanted = (authorise(request.scope), workspace_id)[1]",
        PAGES,
    ),
    Mutant(
        "watching: rows of every workspace",
        "app/api/watched_rows.py",
        "watched.rows if workspace_id is None else of_workspace(watched.rows, workspace_id)",
        "watched.rows",
        "pytest tests/test_tap.py",
    ),
)


def _report(word: str, outcome: Outcome, name: str, told: bool) -> None:
    print(f"{word} {outcome.seconds:5.1f} s  {name}", flush=True)
    if told:
        print(outcome.said)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="run those whose name holds this")
    parser.add_argument("--list", action="store_true", help="print the table and run nothing")
    options = parser.parse_args(arguments)
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.name]
    if options.list:
        print(table(chosen))
        return 0
    caught = passed = 0
    for mutant in chosen:
        outcome = attempt(mutant)
        caught += outcome.failed
        _report("caught" if outcome.failed else "MISSED", outcome, mutant.name, not outcome.failed)
    catchers = sorted({mutant.catcher for mutant in chosen})
    for catcher in catchers:
        outcome = control(catcher)
        passed += outcome.passed
        _report("passes" if outcome.passed else "FAILED", outcome, catcher, not outcome.passed)
    print(f"mutants: planned {len(chosen)} caught {caught} missed {len(chosen) - caught}", end="; ")
    print(f"catchers on what is whole: planned {len(catchers)} passed {passed}")
    return 0 if caught == len(chosen) > 0 and passed == len(catchers) else 1


if __name__ == "__main__":
    sys.exit(main())
