"""A page about one file: its columns, its row groups, its first rows."""

import asyncio
import io
from collections.abc import Awaitable, Iterator, Sequence
from html import escape
from typing import Any, Final
from urllib.parse import quote

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from app.api.files.page import NUMBER, TIME, files_url
from app.api.files.response import Opened
from app.api.pages.cells import cell, stored_text
from app.api.pages.shell import Viewer, render_page
from app.api.pages.tables import TableColumn, render_table
from app.api.pages.words import counted, human_size, plain_time, utc_time
from app.errors import Overloaded
from app.parquet.data_file import DataFile

AT_ONCE_MAX: Final = 2
"""Files that are inspected at the same time; further ones wait."""

WAIT_S: Final = 10.0
"""How long they wait for their turn at most."""

READ_S: Final = 20.0
"""Time limit for one read from an object store."""

RETRY_AFTER_S: Final = 5
ROWS_SHOWN: Final = 20
ROW_GROUPS_SHOWN_MAX: Final = 100


class ColumnFacts(msgspec.Struct, frozen=True):
    """bytes: size in the file. plain_bytes: size before compression."""

    name: str
    physical: str
    logical: str
    bytes: int
    plain_bytes: int


class RowGroupFacts(msgspec.Struct, frozen=True):
    """first_ms, last_ms: of `timestamp`, None if there are no statistics."""

    rows: int
    bytes: int
    first_ms: int | None
    last_ms: int | None


class Inside(msgspec.Struct, frozen=True):
    """rows: the first rows, as text."""

    columns: Sequence[ColumnFacts]
    row_groups: Sequence[RowGroupFacts]
    rows: Sequence[Sequence[str]]
    writer: str


class FileView:
    """Belongs to an event loop; files are read in threads."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(AT_ONCE_MAX)

    async def page(self, file: DataFile, opening: Awaitable[Opened], viewer: Viewer) -> str:
        """Raises NotFound, Overloaded."""
        opened = await opening
        try:
            await self._await_turn()
            try:
                inside = await asyncio.to_thread(look_inside, opened, asyncio.get_running_loop())
            except TimeoutError:
                raise _busy() from None
            finally:
                self._turn.release()
        finally:
            opened.close()
        return render_file_page(file, inside, viewer)

    async def _await_turn(self) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                await self._turn.acquire()
        except TimeoutError:
            raise _busy() from None


def _busy() -> Overloaded:
    return Overloaded("Too many files are being inspected; try again.", retry_after_s=RETRY_AFTER_S)


class _Reading(io.RawIOBase):
    """An object opened on an event loop, as a file for a thread."""

    def __init__(self, opened: Opened, loop: asyncio.AbstractEventLoop) -> None:
        self._opened = opened
        self._loop = loop
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._opened.size}[whence]
        self._place = begin + offset
        return self._place

    def read(self, size: int = -1) -> bytes:
        rest = max(self._opened.size - self._place, 0)
        size = rest if size is None or size < 0 else min(size, rest)
        if not size:
            return b""
        reading = asyncio.run_coroutine_threadsafe(self._opened.read(self._place, size), self._loop)
        data = reading.result(READ_S)
        self._place += len(data)
        return data


def look_inside(opened: Opened, loop: asyncio.AbstractEventLoop) -> Inside:
    """Blocks while it reads the footer and the first row group. Called in a thread that is not the loop's."""
    with pq.ParquetFile(pa.PythonFile(_Reading(opened, loop), mode="r"), pre_buffer=False) as file:
        metadata = file.metadata
        rows: list[list[str]] = []
        if metadata.num_row_groups:
            batches: Iterator[Any] = file.iter_batches(
                batch_size=ROWS_SHOWN, row_groups=[0], use_threads=False
            )
            for row in next(batches, pa.RecordBatch.from_pylist([])).to_pylist()[:ROWS_SHOWN]:
                rows.append([stored_text(name, value) for name, value in row.items()])
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        return Inside(
            _columns(file, groups), [_row_group(group) for group in groups], rows, metadata.created_by
        )


def _columns(file: pq.ParquetFile, groups: Sequence[Any]) -> list[ColumnFacts]:
    found = []
    for place in range(file.metadata.num_columns):
        column = file.schema.column(place)
        chunks = [group.column(place) for group in groups]
        length = f"({column.length})" if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else ""
        logical = str(column.logical_type)
        found.append(
            ColumnFacts(
                column.path,
                f"{column.physical_type}{length}",
                "" if logical == "None" else logical,
                sum(chunk.total_compressed_size for chunk in chunks),
                sum(chunk.total_uncompressed_size for chunk in chunks),
            )
        )
    return found


def _row_group(group: Any) -> RowGroupFacts:
    first = group.column(0)  # timestamp: docs/files.md
    statistics = first.statistics if first.path_in_schema == "timestamp" else None
    times: tuple[int | None, int | None] = (None, None)
    if statistics is not None and statistics.has_min_max and isinstance(statistics.min_raw, int):
        times = statistics.min_raw, statistics.max_raw
    size = sum(group.column(place).total_compressed_size for place in range(group.num_columns))
    return RowGroupFacts(group.num_rows, size, *times)


def render_file_page(file: DataFile, inside: Inside, viewer: Viewer) -> str:
    state = "complete: no more rows are added" if file.sealed else "growing: a flush appends to it"
    all_bytes = sum(column.bytes for column in inside.columns) or 1
    columns = render_table(
        (
            TableColumn("Column"),
            TableColumn("Type"),
            TableColumn("Meaning"),
            TableColumn("Size", NUMBER),
            TableColumn("Share", NUMBER),
            TableColumn("Uncompressed", NUMBER),
        ),
        (
            (
                f"<code>{escape(each.name)}</code>",
                escape(each.physical),
                escape(each.logical) or '<span class="soft">none</span>',
                human_size(each.bytes),
                f"{100 * each.bytes / all_bytes:.1f} %",
                human_size(each.plain_bytes),
            )
            for each in inside.columns
        ),
        "",
        "Columns",
    )
    return render_page(
        file.path,
        f"""<p class="crumbs"><a href="{files_url(file.workspace_id)}">Workspace {file.workspace_id}</a> /
<a href="{files_url(file.workspace_id, file.date)}">{escape(file.date)}</a> / {escape(file.kind.value)}</p>
<h1>{escape(file.path)}</h1>
<p class="soft">{counted(file.rows, "row")}, {human_size(file.bytes)}, {escape(file.compression)}, {state}.
Updated {escape(plain_time(file.changed_at))} UTC by {escape(inside.writer)}.</p>
<p><a class="button" href="/files/{escape(quote(file.path))}">Download</a></p>
<h2>First rows</h2>
<div class="scroll" tabindex="0" role="region" aria-label="First rows">{_first_rows(inside)}</div>
<h2>Columns</h2>
{columns}
<h2>Row groups</h2>
{_row_groups(inside.row_groups)}""",
        viewer,
        "/files",
    )


def _first_rows(inside: Inside) -> str:
    head = "".join(f"<th>{escape(column.name)}</th>" for column in inside.columns)
    rows = "".join(
        "<tr>" + "".join(f'<td class="text">{cell(text)}</td>' for text in row) + "</tr>\n"
        for row in inside.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row_groups(groups: Sequence[RowGroupFacts]) -> str:
    table = render_table(
        (
            TableColumn("Number", NUMBER),
            TableColumn("Rows", NUMBER),
            TableColumn("Size", NUMBER),
            TableColumn("Rows from", TIME),
            TableColumn("to (UTC)", TIME),
        ),
        (
            (
                str(number),
                f"{group.rows:,}",
                human_size(group.bytes),
                "" if group.first_ms is None else utc_time(group.first_ms),
                "" if group.last_ms is None else utc_time(group.last_ms),
            )
            for number, group in enumerate(groups[:ROW_GROUPS_SHOWN_MAX], 1)
        ),
        "",
        "Row groups",
    )
    more = len(groups) - ROW_GROUPS_SHOWN_MAX
    return table + (f'<p class="soft small">And {more:,} more.</p>' if more > 0 else "")
