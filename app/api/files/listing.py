"""Published files in pages, newest first."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Final

import msgspec

from app.api.files.folders import Folder, folders_of
from app.errors import RequestError
from app.kinds import Kind
from app.parquet.data_file import DataFile
from app.parquet.partition import overlaps

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1000
CURSOR_CHARACTERS_MAX: Final = 1024


class FileFilter(msgspec.Struct, frozen=True):
    """None does not filter. date: YYYY-MM-DD; the file's day, or any day of its month. updated_since: in the
    form that files have it, inclusive."""

    workspace_id: int | None = None
    date: str | None = None
    kind: Kind | None = None
    updated_since: str | None = None

    def passes(self, file: DataFile) -> bool:
        return (
            (self.workspace_id is None or file.workspace_id == self.workspace_id)
            and (self.date is None or overlaps(file.date, self.date, self.date))
            and (self.kind is None or file.kind == self.kind)
            and (self.updated_since is None or file.changed_at >= self.updated_since)
        )


class FilePage(msgspec.Struct, frozen=True):
    """next_cursor: the cursor for the next page, None on the last page."""

    files: Sequence[DataFile]
    next_cursor: str | None


class FileListing:
    """Pages over a snapshot of the published files, newest first, then by path.

    A cursor is the position of the last file of its page in that order. So a file that is added while a
    client pages appears before that position and shifts nothing: no file is listed twice, none is left out.
    The order is computed once per snapshot. May be used from any thread.
    """

    def __init__(self, snapshot: Callable[[], Sequence[DataFile]]) -> None:
        self._snapshot = snapshot
        self._ordered: tuple[Sequence[DataFile], Sequence[DataFile]] = ((), ())
        self._folders: tuple[Sequence[DataFile], dict[int | None, list[Folder]]] = ((), {})

    def page(self, wanted: FileFilter, limit: int = LIMIT_DEFAULT, cursor: str | None = None) -> FilePage:
        """At most `limit` files. Raises RequestError for an invalid cursor."""
        after = None if cursor is None else _decode_cursor(cursor)
        found = list(islice(self._matching(wanted, after), limit + 1))
        files = found[:limit]
        return FilePage(files, _encode_cursor(files[-1]) if len(found) > limit else None)

    def folders(self, workspace_id: int | None) -> Sequence[Folder]:
        """The days of a workspace, or all workspaces if it is None."""
        snapshot = self._snapshot()
        known, folders = self._folders
        if snapshot is not known:
            folders = folders_of(snapshot)
            self._folders = (snapshot, folders)
        return folders.get(workspace_id, ())

    def _matching(self, wanted: FileFilter, after: tuple[str, str] | None) -> Iterator[DataFile]:
        for file in self._newest_first():
            if after is not None and not _stands_behind(file, after):
                continue
            if wanted.passes(file):
                yield file

    def _newest_first(self) -> Sequence[DataFile]:
        snapshot = self._snapshot()
        known, ordered = self._ordered
        if snapshot is not known:
            ordered = sorted(snapshot, key=attrgetter("path"))
            ordered.sort(key=attrgetter("created_at"), reverse=True)
            self._ordered = (snapshot, ordered)
        return ordered


def _stands_behind(file: DataFile, after: tuple[str, str]) -> bool:
    created_at, path = after
    return file.created_at < created_at or (file.created_at == created_at and file.path > path)


def _encode_cursor(file: DataFile) -> str:
    return urlsafe_b64encode(f"{file.created_at} {file.path}".encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> tuple[str, str]:
    try:
        if len(cursor) > CURSOR_CHARACTERS_MAX:
            raise ValueError
        text = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode()
        created_at, path = text.split(" ", 1)
    except ValueError:
        raise RequestError(
            "query parameter `cursor`: not a cursor of this service; send the `next_cursor` of a page.",
            code="invalid_parameter",
        ) from None
    return created_at, path
