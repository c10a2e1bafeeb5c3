"""GET /docs: the API as a page that needs nothing but this service."""

from collections.abc import Callable
from functools import cache

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from app.api.files.routes import PAGE_HEADERS
from app.api.openapi.page import render_docs_page
from app.api.openapi.rows import JsonObject


def docs_router(document: Callable[[], JsonObject]) -> APIRouter:
    """document: the OpenAPI document to show, once. FastAPI's own page must be off (`docs_url=None`)."""
    router = APIRouter()
    page = cache(lambda: render_docs_page(document()))

    @router.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(), headers=PAGE_HEADERS)

    return router
