"""Notices published files that are removed or truncated while the service runs, shows them, and logs them
once."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from app.disk.durable_fs import DurableFS
from app.parquet.data_file import DataFile, FileState

log = logging.getLogger(__name__)

LOOKS_MAX: Final = 200
"""Files that one call checks; the next call continues behind them."""

Files = Sequence[DataFile]


class MissingFiles:
    """`look` is for one thread, the rest for any. directory: None if files are objects, which are not listed.

    files: the currently published files. find: a currently published file by its path.
    """

    def __init__(
        self,
        fs: DurableFS,
        directory: Path | None,
        files: Callable[[], Files],
        find: Callable[[str], DataFile | None],
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._files = files
        self._find = find
        self._at = 0
        self._missing: dict[str, FileState] = {}
        self._shown: tuple[Files, dict[str, FileState], Files] = ((), {}, ())

    def __len__(self) -> int:
        return len(self._missing)

    def look(self) -> None:
        """Compare some files with their published versions."""
        if self._directory is None:
            return
        files = self._files()
        begin = self._at if self._at < len(files) else 0
        some = files[begin : begin + LOOKS_MAX]
        self._at = begin + len(some)
        found = {file.path: state for file in some if (state := self._state(file)) is not FileState.PUBLISHED}
        # What retention or a newer version has taken away since is not missing.
        found = {path: state for path, state in found.items() if self._find(path) in some}
        before = {file.path for file in some} & self._missing.keys()
        new = sorted(found.keys() - before)
        if new or before - found.keys():
            kept = {path: state for path, state in self._missing.items() if path not in before}
            self._missing = {**kept, **found}
        if new:
            log.warning(
                "%d published files are missing or have been changed, the first is %s; GET /files shows "
                "them, and their partitions continue in new files",
                len(new),
                new[0],
            )

    def shown(self) -> Files:
        """The published files, with their states."""
        files, missing = self._files(), self._missing
        if not missing:
            return files
        if self._shown[0] is not files or self._shown[1] is not missing:
            marked = tuple(
                msgspec.structs.replace(file, state=missing[file.path]) if file.path in missing else file
                for file in files
            )
            self._shown = (files, missing, marked)
        return self._shown[2]

    def _state(self, file: DataFile) -> FileState:
        if file.state is not FileState.PUBLISHED or self._directory is None:
            return FileState.PUBLISHED  # known since the start
        try:
            size = self._fs.stat(self._directory / file.path).size
        except FileNotFoundError:
            return FileState.REMOVED
        except OSError:
            return FileState.PUBLISHED  # nothing is known of it now
        return FileState.CHANGED if size < file.bytes else FileState.PUBLISHED
