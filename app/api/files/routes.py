"""GET /files and GET /files/{path}: what was published, and the files themselves."""

import asyncio
import datetime
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final, Protocol

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BeforeValidator
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.api.admin_auth import Access
from app.api.api_keys import MAX_WORKSPACE_ID
from app.api.files.listing import (
    CURSOR_CHARACTERS_MAX,
    LIMIT_DEFAULT,
    LIMIT_MAX,
    FileFilter,
    FileListing,
    file_json,
)
from app.api.files.page import VIEW, Shown, render_files_page
from app.api.files.response import Opened, PublishedFileResponse
from app.api.files.view import FileView
from app.api.pages.shell import page_response, prefers_html, viewer_of
from app.api.query import query_values
from app.errors import NotFound
from app.kinds import Kind
from app.parquet.data_file import DataFile
from app.parquet.encode import rfc3339

PARQUET_MEDIA_TYPE: Final = "application/vnd.apache.parquet"

OpenFile = Callable[[str], Awaitable[Opened]]
Authorise = Callable[[Scope], Access]


def _empty_is_absent(value: Any) -> Any:
    """A browser's form sends the fields that its user left empty."""
    return None if value == "" else value


EMPTY_IS_ABSENT: Final = BeforeValidator(_empty_is_absent)


def _as_utc(value: datetime.datetime | None) -> datetime.datetime | None:
    return value.replace(tzinfo=datetime.UTC) if value is not None and value.tzinfo is None else value


def _with_plus(value: Any) -> Any:
    """In a query, a plus sign that is not escaped stands for a blank."""
    return _OFFSET.sub(r"\1+\2", value) if isinstance(value, str) else value


_OFFSET: Final = re.compile(r"(T[\d:.]+) (\d\d:?\d\d)$")

UpdatedSince = Annotated[
    datetime.datetime | None, Query(), AfterValidator(_as_utc), BeforeValidator(_with_plus), EMPTY_IS_ABSENT
]

WorkspaceId = Annotated[int | None, Query(ge=0, le=MAX_WORKSPACE_ID), EMPTY_IS_ABSENT]


class PublishedFiles(Protocol):
    """The manifest, as far as these calls need it. Both may be called from any thread."""

    def files(self) -> Sequence[DataFile]: ...
    def find(self, path: str) -> DataFile | None: ...


def files_router(published: PublishedFiles, open_file: OpenFile, authorise: Authorise) -> APIRouter:
    """open_file: opens a published file by its path; raises NotFound when it is not there any more."""
    router = APIRouter()
    listing = FileListing(published.files)

    @router.get("/files")
    async def list_files(
        request: Request,
        workspace_id: WorkspaceId = None,
        date: Annotated[datetime.date | None, EMPTY_IS_ABSENT] = None,
        kind: Annotated[Kind | None, EMPTY_IS_ABSENT] = None,
        updated_since: UpdatedSince = None,
        limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT,
        cursor: Annotated[str | None, Query(max_length=CURSOR_CHARACTERS_MAX), EMPTY_IS_ABSENT] = None,
    ) -> Response:
        access = authorise(request.scope)
        workspace_id = access.narrow(workspace_id)
        since = rfc3339(int(updated_since.timestamp() * 1000)) if updated_since else None
        wanted = FileFilter(workspace_id, date.isoformat() if date else None, kind, since)
        page = await asyncio.to_thread(listing.page, wanted, limit, cursor)
        if prefers_html(request.scope):
            flushed = request.query_params.get("flushed_rows", "")
            shown = Shown(page, wanted, limit, is_first=cursor is None, flushed_rows=flushed)
            folders = () if wanted.date else await asyncio.to_thread(listing.folders, workspace_id)
            return page_response(render_files_page(shown, folders, viewer_of(request.scope, access)))
        content = {"files": [file_json(file) for file in page.files], "next_cursor": page.next_cursor}
        headers = {"vary": "accept", "cache-control": "no-store"}
        return Response(
            orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE),
            media_type="application/json",
            headers=headers,
        )

    endpoint = FileEndpoint(published, open_file, authorise)
    router.routes.append(Route("/files/{path:path}", endpoint, methods=["GET", "HEAD"]))
    return router


class FileEndpoint:
    """ASGI endpoint of one data file, or, asked with `?view`, of a page about it.

    Only paths of published files are opened.
    """

    def __init__(self, published: PublishedFiles, open_file: OpenFile, authorise: Authorise) -> None:
        self._published = published
        self._open_file = open_file
        self._authorise = authorise
        self._view = FileView()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        access = self._authorise(scope)
        file = self._published.find(scope["path_params"]["path"])
        # One answer for both: a workspace learns nothing about the files of another.
        if file is None or not access.may_see(file.workspace_id):
            raise NotFound("No published file has this path; /files lists them.")
        if query_values(scope["query_string"], VIEW):
            page = await self._view.page(file, self._open_file(file.path), viewer_of(scope, access))
            await page_response(page)(scope, receive, send)
            return
        name = f"{file.workspace_id}_{file.path.split('/', 1)[1].replace('/', '_')}"
        response = PublishedFileResponse(self._open_file(file.path), PARQUET_MEDIA_TYPE, name)
        await response(scope, receive, send)
