"""GET /docs: the API as a page that needs nothing but this service."""

from collections.abc import Callable

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from app.api.files.routes import PAGE_HEADERS
from app.api.openapi.page import render_docs_page
from app.api.openapi.rows import JsonObject


def docs_router(document: Callable[[], JsonObject]) -> APIRouter:
    """document: the OpenAPI document to show. FastAPI's own page must be off (`docs_url=None`)."""
    router = APIRouter()

    @router.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(render_docs_page(document()), headers=PAGE_HEADERS)

    return router
