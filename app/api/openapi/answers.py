"""The answers of all calls: schemas of their bodies, and what each status means."""

from collections.abc import Iterable
from typing import Any

from app import errors
from app.api.body import BodyTimeout
from app.api.error_responses import STATUS_BY_ERROR
from app.api.openapi.rows import JsonObject
from app.kinds import Kind

_ERROR_TEXTS: tuple[tuple[type[errors.RequestError], str, str], ...] = (
    (
        errors.MalformedBatch,
        "malformed_batch",
        "The body, or a parameter, cannot be read. Do not send it again.",
    ),
    (errors.Unauthenticated, "unauthenticated", "No key, an unknown key, or two keys that differ."),
    (errors.Forbidden, "forbidden", "A valid key that may not do this."),
    (errors.NotFound, "not_found", "Not here, or not visible with this key."),
    (BodyTimeout, "request_timeout", "The body did not arrive in time."),
    (errors.BatchIdReused, "batch_id_reused", "The batch id was used before, with another payload."),
    (errors.BodyTooLarge, "too_large", "Too many bytes or rows: send smaller batches."),
    (
        errors.UnsupportedMedia,
        "unsupported_media_type",
        "A Content-Type or Content-Encoding that is not read.",
    ),
    (
        errors.QueryLimit,
        "query_limit",
        "The question costs more than one may: time, memory, or rows and bytes of its answer.",
    ),
    (errors.WorkspaceOverShare, "workspace_over_share", "This workspace holds its share: send again later."),
    (errors.Overloaded, "overloaded", "At a limit, starting or draining: send again later."),
    (errors.DiskFull, "disk_full", "The disk is nearly full: send again later."),
    (errors.DecoderFailed, "internal_error", "A defect of the service; nothing was taken."),
)


def component_schemas() -> JsonObject:
    """`components.schemas` of the answers."""
    return {
        "Error": _error_schema(),
        "RowErrors": _row_errors_schema(),
        "Receipt": _receipt_schema(),
        "PartialReceipt": _partial_receipt_schema(),
        "RowsRefused": _rows_refused_schema(),
        "DataFile": _data_file_schema(),
        "FilePage": _page_schema(),
        "FlushResult": _flush_schema(),
        "Usage": _usage_schema(),
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


def json_response(description: str, schema: str, examples: JsonObject) -> JsonObject:
    """A JSON answer whose body is `components.schemas[schema]`. examples: bodies by name."""
    return {
        "description": description,
        "headers": {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}},
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{schema}"},
                "examples": {name: {"value": value} for name, value in examples.items()},
            }
        },
    }


def data_file_example() -> JsonObject:
    return {
        "path": "1/2026-09-21/events.parquet",
        "workspace_id": 1,
        "date": "2026-09-21",
        "hour": None,
        "period": "day",
        "kind": "events",
        "rows": 48210,
        "bytes": 3120455,
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
        request_id=_text("The request's name in the log of the service."),
    )


def _row_errors_schema() -> JsonObject:
    row = _object(
        ["line", "error"],
        line={"type": "integer", "minimum": 1, "description": "The row, or the line of JSON Lines, from 1."},
        error=_text("The field, and what is wrong with it."),
    )
    return {"type": "array", "items": row, "description": "The first of the refused rows."}


def _receipt_facts() -> JsonObject:
    return {
        "accepted": _count("Rows that are durable, and appear exactly once in the files."),
        "duplicate": {"type": "boolean", "description": "This batch was accepted before; nothing was added."},
        "published": {
            "type": "boolean",
            "description": "With `wait=file`: whether the rows are in published files already.",
        },
        "request_id": _text("The request's name in the log of the service."),
    }


def _receipt_schema() -> JsonObject:
    return _object(["accepted", "request_id"], **_receipt_facts())


def _partial_receipt_schema() -> JsonObject:
    return _object(
        ["accepted", "rejected", "errors", "request_id"],
        **_receipt_facts(),
        rejected=_count("Rows that were refused, and are not stored."),
        errors={"$ref": "#/components/schemas/RowErrors"},
    )


def _rows_refused_schema() -> JsonObject:
    schema = _error_schema()
    schema["properties"]["rejected"] = _count("Rows that were refused: all of them.")
    schema["properties"]["errors"] = {"$ref": "#/components/schemas/RowErrors"}
    return schema


def _data_file_schema() -> JsonObject:
    milliseconds = {"type": "integer", "format": "int64", "description": "ms since the epoch"}
    return _object(
        data_file_example(),
        path=_text("Below the data folder; `/files/{path}` is the file."),
        workspace_id={"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
        date={
            "type": "string",
            "format": "date",
            "description": "UTC, of the receive time; the first day of a month",
        },
        hour={
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": 23,
            "description": "null where the period is not an hour",
        },
        period={"enum": ["hour", "day", "month"], "description": "How much time the file's name stands for."},
        kind={"type": "string", "enum": [kind.value for kind in Kind]},
        rows=_count("Rows in the file."),
        bytes=_count("Length of the file."),
        min_timestamp=milliseconds,
        max_timestamp=milliseconds,
        compression=_text("Of its pages."),
        created_at={"type": "string", "format": "date-time", "description": "When it was first published."},
        updated_at={"type": "string", "format": "date-time", "description": "When it was last published."},
        sealed={"type": "boolean", "description": "The file never changes again."},
        state={
            "enum": ["published", "removed", "changed"],
            "description": "removed: somebody took the file away; changed: it is not what was published.",
        },
    )


def _page_schema() -> JsonObject:
    return _object(
        ["files", "next_cursor"],
        files={"type": "array", "items": {"$ref": "#/components/schemas/DataFile"}},
        next_cursor={
            "type": ["string", "null"],
            "description": "The `cursor` of the next page; null: the last.",
        },
    )


def _flush_schema() -> JsonObject:
    return _object(
        ["flushed_rows", "files"],
        flushed_rows=_count("Rows that this flush published."),
        files={"type": "array", "items": {"$ref": "#/components/schemas/DataFile"}},
    )


def _usage_schema() -> JsonObject:
    day = {"type": "string", "format": "date"}
    line = _object(
        ("workspace_id", "date", *(kind.value for kind in Kind), "rows", "bytes"),
        workspace_id=_count("Whose rows they are."),
        date=day,
        **{kind.value: _count(f"Rows of {kind.value}.") for kind in Kind},
        rows=_count("All rows."),
        bytes={
            "type": ["integer", "null"],
            "minimum": 0,
            "description": "Of their texts and payloads, before compression; null with a Kafka journal.",
        },
    )
    return _object(("from", "to", "usage"), **{"from": day}, to=day, usage={"type": "array", "items": line})
