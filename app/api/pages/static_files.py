"""Style and script of the pages, read once."""

import hashlib
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.pages.shell import STATIC
from app.errors import NotFound

MEDIA_TYPES: Final = MappingProxyType(
    {
        "pages.css": "text/css; charset=utf-8",
        "pages.js": "text/javascript; charset=utf-8",
        "icon.svg": "image/svg+xml",
    }
)


def static_router() -> APIRouter:
    router = APIRouter(include_in_schema=False)
    place = files("app.api.pages") / "static"
    contents = {name: (place / name).read_bytes() for name in MEDIA_TYPES}
    tags = {name: f'"{hashlib.sha256(content).hexdigest()[:16]}"' for name, content in contents.items()}

    @router.get(STATIC + "/{name}", include_in_schema=False)
    async def static(request: Request, name: str) -> Response:
        if name not in contents:
            raise NotFound("There is no such file for the pages.")
        headers = {
            "etag": tags[name],
            "cache-control": "public, no-cache",
            "x-content-type-options": "nosniff",
            "cross-origin-resource-policy": "same-origin",
        }
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(contents[name], media_type=MEDIA_TYPES[name], headers=headers)

    return router
