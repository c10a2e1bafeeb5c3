"""POST /forget: remove rows from published files and the journal, by device, user or condition."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.types import Scope

from app import errors
from app.api.answers import ForgetReceipt, JsonLine
from app.api.body import body_timeout
from app.api.openapi.answers import answers, json_answer
from app.api.wanted_rows import wanted_of
from app.errors import BodyTooLarge, Overloaded, RequestError
from app.parquet.wanted import Wanted
from app.publish.intake import NotPublished, WriterStopped

BODY_BYTES_MAX: Final = 64 << 10
RETRY_AFTER_S: Final = 10

Forget = Callable[[Wanted, bool, Mapping[str, Any]], dict[str, Any]]
"""Takes the conditions, whether to zero bytes immediately, and the request as sent; blocks; returns the
receipt."""


class ForgetBody(BaseModel):
    """Which rows to remove: those that match all given conditions."""

    model_config = ConfigDict(extra="forbid", strict=True)

    device: str | None = Field(default=None, description="A UUID, or the name that it was derived from.")
    user: str | None = Field(default=None, description="`user_id` in the payload.")
    where: dict[str, str | int | float | bool] = Field(
        default={}, description="Values by column, or by field of the payload such as `$.plan`."
    )
    workspace_id: int | None = Field(default=None, ge=0, description="Only rows of this workspace.")
    now: bool = Field(
        default=False,
        description="Zero the old bytes immediately; running queries over these files may fail.",
    )


_EXAMPLE: Final = {
    "at": "2026-09-21T14:00:00.000Z",
    "asked": {"device": "sha256:5f0c…"},
    "now": True,
    "complete": True,
    "rows": 12,
    "files_searched": 40,
    "files": [{"path": "1/2026-09-21/events.parquet", "rows": 12, "old_bytes": 3120455, "are_zeros": True}],
    "left": [],
    "receipt": "forgotten/1790000000000-5f0c1a9e0000.json",
}
_ANSWERS: Final = answers(
    json_answer("Done; `complete` says whether everything was removed.", {"receipt": _EXAMPLE}),
    errors.MalformedBatch,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.BodyTooLarge,
    errors.Overloaded,
)
_EXTRA: Final = {
    "security": [{"adminToken": []}, {}],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": ForgetBody.model_json_schema(),
                "examples": {"a device": {"value": {"device": "9f86d081-884c-4d63-a8a1-8c5b2f3e4d5c"}}},
            }
        },
    },
}


def forget_router(forget: Forget, authorise_admin: Callable[[Scope], None], timeout_s: float) -> APIRouter:
    """timeout_s: for the request to arrive; the work itself is not limited, and continues if the client
    disconnects."""
    router = APIRouter()

    @router.post(
        "/forget",
        tags=["operation"],
        operation_id="forget",
        summary="Remove rows from published files and the journal",
        response_class=JsonLine,
        responses=_ANSWERS,
        openapi_extra=_EXTRA,
    )
    async def forget_now(request: Request) -> ForgetReceipt:
        """Buffered rows are written first, so that the journal can drop them, too.

        Each file with matching rows is rewritten without them, behind its old bytes, which become zeros after
        the grace period (`final.grace`), or immediately with `now`. Rows that arrive later are not covered.
        If `complete` is false, `left` names the places that may still contain such rows, and why.
        """
        authorise_admin(request.scope)
        asked = _asked(await _body(request, timeout_s))
        given = asked.model_dump(exclude_none=True, exclude_defaults=True, exclude={"now"})
        where = {name: _text(value) for name, value in asked.where.items()}
        try:
            wanted = wanted_of(asked.workspace_id, asked.device, asked.user, where)
        except ValueError as error:
            raise RequestError(f"{error}.", code="invalid_parameter") from None
        try:
            receipt = await asyncio.to_thread(forget, wanted, asked.now, given)
        except NotPublished as error:
            raise Overloaded(
                f"{error}. Buffered rows must be written to files first; try again.",
                retry_after_s=RETRY_AFTER_S,
                code="publish_failed",
            ) from None
        except WriterStopped as error:
            raise Overloaded(f"{error}.", retry_after_s=RETRY_AFTER_S) from None
        return ForgetReceipt(**receipt)

    return router


async def _body(request: Request, timeout_s: float) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise BodyTooLarge(f"The body may have at most {BODY_BYTES_MAX} bytes.")
    except TimeoutError:
        raise body_timeout(timeout_s) from None
    return bytes(body)


def _asked(body: bytes) -> ForgetBody:
    try:
        return ForgetBody.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        message = f'The body is not valid JSON: {error}. Send an object such as {{"device": "9f86d081-…"}}.'
    except ValidationError as error:
        message = "; ".join(f"`{_place(each['loc'])}`: {each['msg']}" for each in error.errors()) + "."
    raise RequestError(message, code="invalid_parameter")


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "body"


def _text(value: str | float | bool) -> str:
    """The value in the form of the payload's JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
