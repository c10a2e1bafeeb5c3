"""The answers of all calls: schemas of their bodies, and the meaning of each status."""

from collections.abc import Iterable
from typing import Any, Final

from app import errors
from app.api.body import BodyTimeout
from app.api.error_responses import STATUS_BY_ERROR
from app.api.openapi.rows import JsonObject

_ERROR_TEXTS: tuple[tuple[type[errors.RequestError], str, str], ...] = (
    (
        errors.MalformedBatch,
        "malformed_batch",
        "The body, or a parameter, cannot be read. Do not send it again.",
    ),
    (errors.Unauthenticated, "unauthenticated", "No key, an unknown key, or two different keys."),
    (errors.Forbidden, "forbidden", "The key is valid but not allowed to do this."),
    (errors.NotFound, "not_found", "Does not exist, or is not visible with this key."),
    (BodyTimeout, "request_timeout", "The body did not arrive in time."),
    (errors.BatchIdReused, "batch_id_reused", "The batch id was used before, with another payload."),
    (errors.BodyTooLarge, "too_large", "Too many bytes or rows: send smaller batches."),
    (
        errors.UnsupportedMedia,
        "unsupported_media_type",
        "An unsupported Content-Type or Content-Encoding.",
    ),
    (
        errors.QueryLimit,
        "query_limit",
        "The query exceeds a limit: time, memory, or rows and bytes of its answer.",
    ),
    (
        errors.WorkspaceOverShare,
        "workspace_over_share",
        "This workspace has used up its share or quota: send again later.",
    ),
    (errors.Overloaded, "overloaded", "The service is at a limit, starting or draining: send again later."),
    (errors.DiskFull, "disk_full", "The disk is nearly full: send again later."),
    (errors.DecoderFailed, "internal_error", "A bug in the service; nothing was stored."),
)


ADMIN_OR_KEY: Final[JsonObject] = {
    "security": [{"adminToken": []}, {"bearerKey": []}, {"headerKey": []}, {"basicKey": []}, {}]
}
"""Security requirements in a call's description, by who may call it."""


def component_schemas() -> JsonObject:
    """`components.schemas` of the answers."""
    return {
        "Error": _error_schema(),
        "RowErrors": _row_errors_schema(),
        "Receipt": _receipt_schema(),
        "PartialReceipt": _partial_receipt_schema(),
        "RowsRefused": _rows_refused_schema(),
    }


def component_responses() -> JsonObject:
    """`components.responses`: one for each error, by its class."""
    return {error.__name__: _error_response(error, code, text) for error, code, text in _ERROR_TEXTS}


def error_answers(*wanted: type[errors.RequestError]) -> JsonObject:
    """Members of `responses` for these errors; two of one status share an entry."""
    answers: JsonObject = {}
    for error in wanted:
        answers[str(STATUS_BY_ERROR[error])] = {"$ref": f"#/components/responses/{error.__name__}"}
    return answers


def answers(success: JsonObject, *refusals: type[errors.RequestError]) -> dict[int | str, dict[str, Any]]:
    """All answers of a call, in FastAPI's form. success: for status 200."""
    return {200: success, **{int(status): answer for status, answer in error_answers(*refusals).items()}}


def json_answer(description: str, examples: JsonObject, others: JsonObject | None = None) -> JsonObject:
    """A JSON answer without its schema. examples: bodies by name. others: answers of other media types."""
    return {
        "description": description,
        "headers": {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}},
        "content": {
            "application/json": {"examples": {name: {"value": value} for name, value in examples.items()}},
            **(others or {}),
        },
    }


def json_response(description: str, schema: str, examples: JsonObject) -> JsonObject:
    """The same, whose body is `components.schemas[schema]`."""
    answer = json_answer(description, examples)
    answer["content"]["application/json"]["schema"] = {"$ref": f"#/components/schemas/{schema}"}
    return answer


def data_file_example() -> JsonObject:
    return {
        "path": "1/2026-09-21/14/events.parquet",
        "workspace_id": 1,
        "date": "2026-09-21",
        "hour": 14,
        "period": "hour",
        "kind": "events",
        "rows": 48210,
        "bytes": 3120455,
        "disk_bytes": 3120455,
        "min_timestamp": 1790000000000,
        "max_timestamp": 1790003599000,
        "compression": "snappy",
        "created_at": "2026-09-21T14:00:00.000Z",
        "updated_at": "2026-09-21T14:04:00.000Z",
        "sealed": False,
        "state": "published",
    }


def _error_response(error: type[errors.RequestError], code: str, text: str) -> JsonObject:
    body = {"error": code, "code": code, "message": text, "request_id": "5f0c1a9e0000002a"}
    response = json_response(text, "Error", {code: body})
    if issubclass(error, errors.Refused):
        response["headers"]["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    if issubclass(error, errors.Unauthenticated):
        response["headers"]["WWW-Authenticate"] = {"schema": {"type": "string"}}
    return response


def _object(required: Iterable[str], **properties: Any) -> JsonObject:
    return {"type": "object", "required": list(required), "properties": properties}


def _text(description: str) -> JsonObject:
    return {"type": "string", "description": description}


def _count(description: str) -> JsonObject:
    return {"type": "integer", "minimum": 0, "description": description}


def _error_schema() -> JsonObject:
    return _object(
        ["error", "code", "message", "request_id"],
        error=_text("The code of the error, for programs."),
        code=_text("The same."),
        message=_text("What is wrong, and what to do about it."),
        request_id=_text("The id of the request in the service's log."),
    )


def _row_errors_schema() -> JsonObject:
    row = _object(
        ["line", "error"],
        line={
            "type": "integer",
            "minimum": 1,
            "description": "Number of the row, or of the line for JSON Lines, from 1.",
        },
        error=_text("The field, and what is wrong with it."),
    )
    return {"type": "array", "items": row, "description": "The first refused rows."}


def _receipt_facts() -> JsonObject:
    return {
        "accepted": _count("Rows that are durable and appear exactly once in the files."),
        "duplicate": {"type": "boolean", "description": "This batch was accepted before; nothing was added."},
        "published": {
            "type": "boolean",
            "description": "With `wait=file`: whether the rows are in published files already.",
        },
        "request_id": _text("The id of the request in the service's log."),
    }


def _receipt_schema() -> JsonObject:
    return _object(["accepted", "request_id"], **_receipt_facts())


def _partial_receipt_schema() -> JsonObject:
    return _object(
        ["accepted", "rejected", "errors", "request_id"],
        **_receipt_facts(),
        rejected=_count("Rows that were refused and are not stored."),
        errors={"$ref": "#/components/schemas/RowErrors"},
    )


def _rows_refused_schema() -> JsonObject:
    schema = _error_schema()
    schema["properties"]["rejected"] = _count("Rows that were refused: all of them.")
    schema["properties"]["errors"] = {"$ref": "#/components/schemas/RowErrors"}
    return schema
