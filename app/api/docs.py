"""GET /docs: the API as a page that needs nothing but this service, and no key."""

from collections.abc import Callable

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Scope

from app.api.admin_auth import Access
from app.api.openapi.page import render_docs_page
from app.api.openapi.rows import JsonObject
from app.api.pages.overview import base_url
from app.api.pages.shell import Viewer, page_response, viewer_of
from app.errors import RequestError


def docs_router(
    document: Callable[[], JsonObject],
    authorise: Callable[[Scope], Access],
    is_secure: Callable[[Scope], bool],
) -> APIRouter:
    """document: the OpenAPI document. FastAPI's own page must be off (`docs_url=None`)."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        try:
            viewer = viewer_of(request.scope, authorise(request.scope))
        except RequestError:
            viewer = Viewer()
        return page_response(render_docs_page(document(), base_url(request.scope, is_secure), viewer))

    return router
