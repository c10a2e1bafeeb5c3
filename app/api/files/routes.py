"""GET /files and GET /files/{path}: the list of published files, and the files themselves."""

import asyncio
import datetime
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BeforeValidator
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app import errors
from app.api.admin_auth import Access
from app.api.answers import UNCACHED, FileList, JsonLine, ListedFile
from app.api.api_keys import MAX_WORKSPACE_ID
from app.api.files.listing import (
    CURSOR_CHARACTERS_MAX,
    LIMIT_DEFAULT,
    LIMIT_MAX,
    FileFilter,
    FileListing,
)
from app.api.files.page import VIEW, Shown, render_files_page
from app.api.files.response import PARQUET_MEDIA_TYPE, Opened, PublishedFileResponse
from app.api.files.view import FileView
from app.api.openapi.answers import ADMIN_OR_KEY, answers, data_file_example, json_answer
from app.api.pages.shell import page_response, prefers_html, viewer_of
from app.api.query import query_values
from app.errors import NotFound
from app.kinds import Kind
from app.parquet.data_file import DataFile
from app.parquet.encode import rfc3339

OpenFile = Callable[[str], Awaitable[Opened]]
Authorise = Callable[[Scope], Access]


def _empty_is_absent(value: Any) -> Any:
    """A browser's form also sends empty fields."""
    return None if value == "" else value


EMPTY_IS_ABSENT: Final = BeforeValidator(_empty_is_absent)


def _as_utc(value: datetime.datetime | None) -> datetime.datetime | None:
    return value.replace(tzinfo=datetime.UTC) if value is not None and value.tzinfo is None else value


def _with_plus(value: Any) -> Any:
    """In a query, an unescaped plus sign means a space."""
    return _OFFSET.sub(r"\1+\2", value) if isinstance(value, str) else value


_OFFSET: Final = re.compile(r"(T[\d:.]+) (\d\d:?\d\d)$")

UpdatedSince = Annotated[
    datetime.datetime | None,
    Query(
        description="Only files first published, or changed, at this time or later. A client that polls "
        "sends the latest `updated_at` it has seen."
    ),
    AfterValidator(_as_utc),
    BeforeValidator(_with_plus),
    EMPTY_IS_ABSENT,
]

WorkspaceId = Annotated[
    int | None,
    Query(
        ge=0,
        le=MAX_WORKSPACE_ID,
        description="Only this workspace; a workspace's key sees only its own.",
    ),
    EMPTY_IS_ABSENT,
]

_LISTED: Final = answers(
    json_answer(
        "A page of files; an HTML page for a browser.",
        {"page": {"files": [data_file_example()], "next_cursor": "MjAyNi0wOS0yMVQxNDowMDowMC4wMDBaIDEvMj"}},
        {"text/html": {"schema": {"type": "string"}}},
    ),
    errors.MalformedBatch,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.Overloaded,
)


class PublishedFiles(Protocol):
    """The part of the manifest that these calls need. Both methods may be called from any thread."""

    def files(self) -> Sequence[DataFile]: ...
    def find(self, path: str) -> DataFile | None: ...


def files_router(published: PublishedFiles, open_file: OpenFile, authorise: Authorise) -> APIRouter:
    """open_file: opens a published file by its path; raises NotFound if it no longer exists."""
    router = APIRouter()
    listing = FileListing(published.files)

    @router.get(
        "/files",
        tags=["files"],
        operation_id="listFiles",
        summary="List published files",
        response_model=FileList,
        response_class=JsonLine,
        responses=_LISTED,
        openapi_extra=ADMIN_OR_KEY,
    )
    async def list_files(
        request: Request,
        response: Response,
        workspace_id: WorkspaceId = None,
        date: Annotated[
            datetime.date | None, Query(description="Only this day, UTC."), EMPTY_IS_ABSENT
        ] = None,
        kind: Annotated[Kind | None, Query(description="Only this kind."), EMPTY_IS_ABSENT] = None,
        updated_since: UpdatedSince = None,
        limit: Annotated[
            int, Query(ge=1, le=LIMIT_MAX, description="Number of files in a page.")
        ] = LIMIT_DEFAULT,
        cursor: Annotated[
            str | None,
            Query(max_length=CURSOR_CHARACTERS_MAX, description="`next_cursor` of the previous page."),
            EMPTY_IS_ABSENT,
        ] = None,
    ) -> FileList | Response:
        """Newest first. Paging stays correct while files are added."""
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
        response.headers.update({"vary": "accept"} | UNCACHED)
        return FileList(files=[ListedFile.of(file) for file in page.files], next_cursor=page.next_cursor)

    endpoint = FileEndpoint(published, open_file, authorise)
    router.routes.append(Route("/files/{path:path}", endpoint, methods=["GET", "HEAD"]))
    return router


class FileEndpoint:
    """ASGI endpoint of one data file or, with `?view`, of a page about it.

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
