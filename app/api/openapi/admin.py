"""The admin calls in the OpenAPI document."""

from app import errors
from app.api.api_keys import MAX_WORKSPACE_ID
from app.api.files.listing import CURSOR_CHARACTERS_MAX, LIMIT_DEFAULT, LIMIT_MAX
from app.api.files.routes import PARQUET_MEDIA_TYPE
from app.api.openapi.answers import data_file_example, error_answers, json_response
from app.api.openapi.rows import JsonObject
from app.api.usage import DAYS_DEFAULT
from app.kinds import Kind

_ADMIN: list[JsonObject] = [{"adminToken": []}, {}]
_ADMIN_OR_KEY: list[JsonObject] = [
    {"adminToken": []},
    {"bearerKey": []},
    {"headerKey": []},
    {"basicKey": []},
    {},
]


def admin_paths() -> JsonObject:
    """`paths` of all calls that take no batch."""
    return {
        "/files": {"get": _list_files()},
        "/files/{path}": {"get": _get_file(), "head": _head_file(), "parameters": [_path_parameter()]},
        "/flush": {"post": _flush()},
        "/status": {"get": _status()},
        "/usage": {"get": _usage()},
        "/metrics": {"get": _metrics()},
        "/health": {"get": _health()},
        "/ready": {"get": _ready()},
    }


def _query(name: str, description: str, schema: JsonObject) -> JsonObject:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _workspace() -> JsonObject:
    schema = {"type": "integer", "minimum": 0, "maximum": MAX_WORKSPACE_ID}
    return _query("workspace_id", "Only this workspace; a workspace's key sees its own alone.", schema)


def _refusals(*more: type[errors.RequestError]) -> JsonObject:
    return error_answers(errors.MalformedBatch, errors.Unauthenticated, errors.Forbidden, *more)


def _list_files() -> JsonObject:
    page = {"files": [data_file_example()], "next_cursor": None}
    listed = json_response("A page of files; a page of HTML for a browser.", "FilePage", {"page": page})
    listed["content"]["text/html"] = {"schema": {"type": "string"}}
    return {
        "operationId": "listFiles",
        "tags": ["files"],
        "summary": "List published files",
        "description": "Newest first. Pages stay right while files are added.",
        "security": _ADMIN_OR_KEY,
        "parameters": [
            _workspace(),
            _query("date", "Only this day, UTC.", {"type": "string", "format": "date"}),
            _query(
                "updated_since",
                "Only files that were published, first or anew, at this time or later. Who polls sends the "
                "latest `updated_at` it has seen.",
                {"type": "string", "format": "date-time"},
            ),
            _query("kind", "Only this kind.", {"type": "string", "enum": [kind.value for kind in Kind]}),
            _query(
                "limit",
                "Files in a page.",
                {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
            ),
            _query(
                "cursor",
                "`next_cursor` of the page before.",
                {"type": "string", "maxLength": CURSOR_CHARACTERS_MAX},
            ),
        ],
        "responses": {"200": listed, **_refusals(errors.Overloaded)},
    }


def _path_parameter() -> JsonObject:
    return {
        "name": "path",
        "in": "path",
        "required": True,
        "description": "As `/files` lists it; its slashes stay slashes.",
        "schema": {"type": "string"},
        "example": data_file_example()["path"],
    }


def _get_file() -> JsonObject:
    content = {PARQUET_MEDIA_TYPE: {"schema": {"type": "string", "contentMediaType": PARQUET_MEDIA_TYPE}}}
    tag = {"ETag": {"schema": {"type": "string"}, "description": "Strong; of this version of the file."}}
    part = {"Content-Range": {"schema": {"type": "string"}}}
    return {
        "operationId": "getFile",
        "tags": ["files"],
        "summary": "Get a published file",
        "description": "One version of the file, also when it is replaced meanwhile.",
        "security": _ADMIN_OR_KEY,
        "parameters": [
            {
                "name": name,
                "in": "header",
                "description": description,
                "schema": {"type": "string"},
            }
            for name, description in (
                ("Range", "One range of bytes."),
                ("If-Range", "The Range counts if the ETag is still this one."),
                ("If-Match", "412 unless the ETag is still this one."),
                ("If-None-Match", "304 if the ETag is still this one."),
            )
        ],
        "responses": {
            "200": {"description": "The file.", "headers": tag, "content": content},
            "206": {"description": "The part that was asked for.", "headers": tag | part, "content": content},
            "304": {"description": "Not changed.", "headers": tag},
            "412": {"description": "Changed.", "headers": tag},
            "416": {"description": "The range begins behind the end.", "headers": tag | part},
            **error_answers(errors.Unauthenticated, errors.Forbidden, errors.NotFound, errors.Overloaded),
        },
    }


def _head_file() -> JsonObject:
    return {
        "operationId": "headFile",
        "tags": ["files"],
        "summary": "Size and ETag of a published file",
        "security": _ADMIN_OR_KEY,
        "responses": {
            "200": {"description": "Content-Length, ETag, Last-Modified."},
            "404": {"description": "Not here, or not visible with this key."},
        },
    }


def _flush() -> JsonObject:
    result = {"flushed_rows": 120, "files": [data_file_example()]}
    return {
        "operationId": "flush",
        "tags": ["operation"],
        "summary": "Publish all buffered rows now",
        "description": "Answers when everything accepted before is in published files. Pages of other "
        "origins are refused.",
        "security": _ADMIN_OR_KEY,
        "parameters": [_workspace()],
        "responses": {
            "200": json_response("Published.", "FlushResult", {"result": result}),
            **_refusals(errors.Overloaded),
        },
    }


def _status() -> JsonObject:
    row = {
        "workspace_id": 1,
        "kind": "events",
        "accepted": 120,
        "published": 100,
        "buffered": 20,
        "quarantined": 0,
        "removed": 0,
    }
    refused = {
        "at": "2026-09-21T14:00:01.042Z",
        "workspace_id": 1,
        "kind": "events",
        "reason": "invalid_row",
        "row": 2,
        "field": "type",
        "message": "unknown: 'click'; must be track, identify, group, alias, enrich or context",
        "text": '{"type": "click"}',
    }
    examples = {"status": {"rows": [row]}, "errors": {"refusals": [refused]}}
    answer = json_response("The account, or with `errors` what was refused last.", "Status", examples)
    return {
        "operationId": "status",
        "tags": ["operation"],
        "summary": "The account of every accepted row",
        "description": "accepted = published + buffered + quarantined + removed, per workspace and kind; "
        "`removed`: rows in files that `[[retention]]` has removed. "
        "`last_flush_ms`: when rows were last published by this process, ms since the epoch; null before. "
        "`catalog`: which commits are registered in tables, and what waits; null where none is configured.\n"
        "With `?errors`, the last hundred refusals of each workspace that this process has made, the newest "
        "first, which a workspace's key may ask for its own.",
        "security": _ADMIN_OR_KEY,
        "parameters": [
            _query("errors", "What was refused last instead of the account.", {"type": "string"}),
            _workspace(),
        ],
        "responses": {
            "200": answer,
            **error_answers(errors.Unauthenticated, errors.Forbidden, errors.Overloaded),
        },
    }


def _usage() -> JsonObject:
    line = {"workspace_id": 1, "date": "2026-09-21", "events": 120, "logs": 0, "snapshots": 0}
    day = {"type": "string", "format": "date"}
    example = {"from": "2026-09-01", "to": "2026-09-30", "usage": [line | {"rows": 120, "bytes": 20480}]}
    return {
        "operationId": "usage",
        "tags": ["operation"],
        "summary": "How much each workspace has had accepted, by day",
        "description": "Equal to the rows in the files, over kills and restarts, and kept when retention "
        "removes files. Days are UTC days of receipt.",
        "security": _ADMIN_OR_KEY,
        "parameters": [
            _query("from", f"The first day; without it {DAYS_DEFAULT} days up to `to`.", day),
            _query("to", "The last day; without it today.", day),
            _workspace(),
        ],
        "responses": {
            "200": json_response("One line a workspace and day.", "Usage", {"month": example}),
            **_refusals(errors.Overloaded),
        },
    }


def _metrics() -> JsonObject:
    return {
        "operationId": "metrics",
        "tags": ["operation"],
        "summary": "Metrics for Prometheus",
        "security": _ADMIN,
        "responses": {
            "200": {
                "description": "The text format.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            **error_answers(errors.Unauthenticated, errors.Forbidden),
        },
    }


def _health() -> JsonObject:
    return {
        "operationId": "health",
        "tags": ["operation"],
        "summary": "Whether the process is up",
        "security": [],
        "responses": {"200": json_response("Up.", "Health", {"up": {"status": "up"}})},
    }


def _ready() -> JsonObject:
    reason = "disk full"
    not_ready = {
        "ready": False,
        "reason": reason,
        "error": "not_ready",
        "code": "not_ready",
        "message": f"No batches are taken now: {reason}",
        "request_id": "5f0c1a9e0000002a",
    }
    return {
        "operationId": "ready",
        "tags": ["operation"],
        "summary": "Whether batches are taken",
        "security": [],
        "responses": {
            "200": json_response("Batches are taken.", "Ready", {"ready": {"ready": True}}),
            "503": json_response("Batches are refused, and why.", "Ready", {"not_ready": not_ready}),
        },
    }
