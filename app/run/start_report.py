"""Messages for operators about the state of files, logged at a start."""

import errno
import logging
from collections.abc import Iterator

from app.publish.interrupted import RecoveryReport
from app.publish.lost_rows import loss_in_words

log = logging.getLogger(__name__)


class CannotStart(Exception):
    """The service cannot start because of the disk. The message says what to do."""


def cannot_start(error: OSError) -> str:
    """One sentence with path and remedy."""
    path = error.filename2 or error.filename or "one of the service's files"
    remedy = {
        errno.EACCES: "give the service's user the right to write there",
        errno.EPERM: "give the service's user the right to write there",
        errno.EROFS: "mount the file system for writing",
        errno.ENOSPC: "free space or inodes on that file system",
        errno.EDQUOT: "raise the user's quota there",
        errno.EXDEV: "put it and its target on one file system, without links between them",
        errno.ENOTDIR: "a file is in the place of a required directory: move it away",
    }.get(error.errno or 0, "check that disk")
    return f"the service cannot start: {path}: {error.strerror or error}; {remedy}, and start again"


def say(report: RecoveryReport) -> None:
    """One line for each finding, with a count if there are many."""
    for broken in report.files.broken:
        log.error("found at the start: %s", loss_in_words(broken))
    for line in _others(report):
        log.warning("noticed at the start: %s", line)


def lines(report: RecoveryReport) -> list[str]:
    """The same, for printing."""
    return [*map(loss_in_words, report.files.broken), *_others(report)]


def _others(report: RecoveryReport) -> Iterator[str]:
    files = report.files
    if files.adopted:
        yield (
            f"the manifest did not list {len(files.adopted)} published files, or not all of their rows, the "
            f"first is {files.adopted[0].path}: their own metadata is used"
        )
    if files.removed:
        yield f"{len(files.removed)} published files are missing, the first is {files.removed[0].path}"
    if files.unknown:
        yield (
            f"{len(files.unknown)} files below the data path do not belong to this service, the first is "
            f"{files.unknown[0]}: they are left alone"
        )
    for path in files.incomplete:
        yield f"{path} comes from an interrupted publish: its rows are published again from the journal"
