"""The ingest calls in the OpenAPI document."""

import json

from app import errors
from app.api.body import BodyTimeout
from app.api.ingest_request import BATCH_ID_BYTES_MAX, FLATBUFFER_CONTENT_TYPES, JSON_CONTENT_TYPES
from app.api.openapi.answers import error_answers, json_response
from app.api.openapi.rows import JsonObject, row_examples
from app.kinds import Kind

_ENCODINGS = ("gzip", "zstd", "deflate", "br", "snappy")

_KEYS: list[JsonObject] = [{"bearerKey": []}, {"headerKey": []}, {"basicKey": []}, {"queryKey": []}]


def ingest_paths() -> JsonObject:
    """`paths` of all calls that take a batch."""
    paths = {"/v1/ingest": {"post": _flatbuffer_call()}}
    for kind in Kind:
        paths[f"/v1/{kind.value}"] = {"post": _json_call(kind)}
    return paths


def _flatbuffer_call() -> JsonObject:
    body = {"schema": {"type": "string", "contentMediaType": "application/x-flatbuffers"}}
    return _call(
        "ingestFlatbuffer",
        "Send a FlatBuffer batch",
        "A `Batch` of events, logs or snapshots (`openapi/batch.fbs`); the batch says which. The key inside "
        "the batch must be the same as the request's.",
        dict.fromkeys(sorted(_names(FLATBUFFER_CONTENT_TYPES)), body),
    )


def _json_call(kind: Kind) -> JsonObject:
    rows = row_examples(kind)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    as_array = {
        "schema": {
            "oneOf": [
                {"type": "array", "items": {"$ref": f"#/components/schemas/{kind.value}"}},
                {"$ref": f"#/components/schemas/{kind.value}"},
            ]
        },
        "examples": {"array": {"value": rows}, "object": {"value": rows[0]}},
    }
    as_lines = {
        "schema": {
            "type": "string",
            "description": "JSON Lines: one object per line; blank lines are not counted.",
        },
        "examples": {"lines": {"value": lines}},
    }
    others = sorted(_names(JSON_CONTENT_TYPES) - {"application/json"})
    return _call(
        f"ingest{kind.value.capitalize()}",
        f"Send {kind.value} as JSON",
        "JSON Lines, a JSON array of objects, or one object: each Content-Type accepts all three. An "
        "invalid row is refused by itself and named in a 207.",
        {"application/json": as_array} | dict.fromkeys(others, as_lines),
    )


def _call(operation_id: str, summary: str, description: str, content: JsonObject) -> JsonObject:
    return {
        "operationId": operation_id,
        "tags": ["ingest"],
        "summary": summary,
        "description": description,
        "security": _KEYS,
        "parameters": _parameters(),
        "requestBody": {"required": True, "content": content},
        "responses": _answers(),
    }


def _parameters() -> list[JsonObject]:
    return [
        {
            "name": "wait",
            "in": "query",
            "description": "When to answer: when the rows are durable, or when they are in published files.",
            "schema": {"type": "string", "enum": ["journal", "file"], "default": "journal"},
        },
        {
            "name": "status",
            "in": "query",
            "description": "200: use this status for success, for clients that treat 202 and 207 as errors.",
            "schema": {"type": "string", "enum": ["200", "202"], "default": "202"},
        },
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "An id for this batch, chosen by the client. A batch sent again with the same id "
            "and body is answered as a duplicate and stored once; with a different body it is refused.",
            "schema": {"type": "string", "maxLength": BATCH_ID_BYTES_MAX},
        },
        {
            "name": "Content-Encoding",
            "in": "header",
            "schema": {"type": "string", "enum": list(_ENCODINGS)},
        },
        {"$ref": "#/components/parameters/RequestId"},
    ]


def _answers() -> JsonObject:
    receipt = {"accepted": 2, "request_id": "5f0c1a9e0000002a"}
    row_error = {"line": 2, "error": "message: is required: the text of the log"}
    partial = {"accepted": 1, "rejected": 1, "errors": [row_error], "request_id": "5f0c1a9e0000002a"}
    refused = {
        "error": "rows_refused",
        "code": "rows_refused",
        "message": "No row could be accepted; the first refused is row 2: device_id: is missing; send a UUID",
        "rejected": 1,
        "errors": [row_error],
        "request_id": "5f0c1a9e0000002a",
    }
    answers = {
        "202": json_response(
            "A receipt: all rows are on stable storage and appear exactly once in the files.",
            "Receipt",
            {"accepted": receipt, "duplicate": receipt | {"duplicate": True}},
        ),
        "207": json_response(
            "Some rows were refused; the others are stored.", "PartialReceipt", {"one": partial}
        ),
    }
    answers |= error_answers(
        errors.Unauthenticated,
        errors.Forbidden,
        BodyTimeout,
        errors.BatchIdReused,
        errors.BodyTooLarge,
        errors.UnsupportedMedia,
        errors.WorkspaceOverShare,
        errors.DecoderFailed,
        errors.Overloaded,
        errors.DiskFull,
    )
    malformed = {
        "error": "malformed_batch",
        "code": "malformed_batch",
        "message": "the body has no rows",
        "request_id": "5f0c1a9e0000002a",
    }
    answers["400"] = json_response(
        "The body cannot be read, a parameter is wrong, or every row was refused. Nothing was stored; do not "
        "send it again as it is.",
        "RowsRefused",
        {"malformed_batch": malformed, "rows_refused": refused},
    )
    return dict(sorted(answers.items()))


def _names(content_types: frozenset[bytes]) -> set[str]:
    return {content_type.decode() for content_type in content_types if content_type}
