"""Callbacks of publishing, for metrics. Called from the writer thread; must not block or raise."""

from typing import Protocol

from app.kinds import Kind


class WriterObserver(Protocol):
    def rows_written(self, kind: Kind, rows: int) -> None:
        """Rows that are in published files now."""

    def bytes_written(self, count: int) -> None:
        """New bytes in published files: row groups and footers, without the bytes of old versions."""

    def file_created(self) -> None:
        """A file that did not exist before was published."""

    def files_removed(self, files: int, rows: int) -> None:
        """Retention has removed files with this many rows."""

    def file_laid_again(self, old_bytes: int, new_bytes: int) -> None:
        """A file was compacted: this many bytes were written behind the old ones."""

    def bytes_given_back(self, count: int) -> None:
        """Old bytes of compacted files have been freed."""

    def rows_forgotten(self, rows: int) -> None:
        """Rows were removed from files on request."""

    def write_error(self) -> None:
        """Publishing failed and will be retried."""

    def partition_failed(self) -> None:
        """One partition could not be published and is set aside for a while."""

    def rows_quarantined(self, kind: Kind, rows: int) -> None:
        """Rows that could not be encoded were quarantined."""

    def records_foreign(self, records: int) -> None:
        """Records of a Kafka partition that this service did not write were quarantined."""

    def values_unfit(self, kind: Kind, column: str, values: int) -> None:
        """Values of the payload that do not fit their promoted column, and are null there."""

    def flush_seconds(self, seconds: float) -> None:
        """How long one publish took, from encoding to the manifest."""


class SilentObserver:
    """Counts nothing."""

    def partition_failed(self) -> None:
        return

    def rows_written(self, kind: Kind, rows: int) -> None: ...

    def bytes_written(self, count: int) -> None: ...

    def file_created(self) -> None: ...

    def files_removed(self, files: int, rows: int) -> None: ...

    def file_laid_again(self, old_bytes: int, new_bytes: int) -> None: ...

    def bytes_given_back(self, count: int) -> None: ...

    def rows_forgotten(self, rows: int) -> None: ...

    def write_error(self) -> None: ...

    def rows_quarantined(self, kind: Kind, rows: int) -> None: ...

    def records_foreign(self, records: int) -> None: ...

    def values_unfit(self, kind: Kind, column: str, values: int) -> None: ...

    def flush_seconds(self, seconds: float) -> None: ...
