"""Published files that are missing from their tables, kept across starts."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from app.disk.durable_fs import DurableFS
from app.kinds import Kind

if TYPE_CHECKING:
    from app.catalog.judgement import UnfitFile

log = logging.getLogger(__name__)

LISTED_MAX: Final = 100
"""Files named in GET /status; the file on disk lists them all."""


class LeftOutFiles:
    """For the registrar's thread; `listed` may be called from any. path: of a JSON file, replaced
    atomically."""

    def __init__(self, fs: DurableFS, path: Path) -> None:
        self._fs = fs
        self._path = path
        self._files: dict[str, UnfitFile] = {}

    def load(self) -> None:
        from app.catalog.judgement import UnfitFile

        if not self._fs.exists(self._path):
            return
        try:
            found = msgspec.json.decode(self._fs.read(self._path), type=list[UnfitFile])
        except msgspec.DecodeError as error:
            log.warning(
                "%s cannot be read (%s): it is not known which files are missing from tables",
                self._path,
                error,
            )
            return
        self._files = {each.path: each for each in found}

    def add(self, files: Sequence["UnfitFile"]) -> None:
        """Raises OSError; then the commit that would leave them out is not made."""
        new = {each.path: each for each in files if each.path not in self._files}
        self._files = {**self._files, **{each.path: each for each in files}}
        self._save()
        for each in new.values():
            log.error("%s cannot be added to the table %s: %s", each.path, each.kind.value, each.reason)

    def remove(self, paths: Iterable[str]) -> None:
        gone = set(paths)
        self._files = {path: each for path, each in self._files.items() if path not in gone}
        self._save()

    def of(self, kind: Kind) -> list["UnfitFile"]:
        return [each for each in self._files.values() if each.kind is kind]

    def listed(self) -> list["UnfitFile"]:
        return list(self._files.values())[-LISTED_MAX:]

    def __len__(self) -> int:
        return len(self._files)

    def _save(self) -> None:
        self._fs.write_atomically(self._path, msgspec.json.encode(list(self._files.values())))
