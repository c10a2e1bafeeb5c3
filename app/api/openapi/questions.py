"""POST /query and GET /tail in the OpenAPI document."""

from app import errors
from app.api.api_keys import MAX_WORKSPACE_ID
from app.api.openapi.answers import error_answers
from app.api.openapi.rows import JsonObject
from app.api.sql import FORMS
from app.api.watched_rows import COLUMNS
from app.kinds import Kind

SECURITY: list[JsonObject] = [
    {"adminToken": []},
    {"bearerKey": []},
    {"headerKey": []},
    {"basicKey": []},
    {},
]
"""The admin token, or a workspace's key."""


def question_paths() -> JsonObject:
    """`paths` of the calls that show rows."""
    return {"/query": {"post": _ask()}, "/tail": {"get": _tail()}}


def _query(name: str, description: str, schema: JsonObject) -> JsonObject:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _workspace() -> JsonObject:
    schema = {"type": "integer", "minimum": 0, "maximum": MAX_WORKSPACE_ID}
    return _query("workspace_id", "Only this workspace; a workspace's key sees only its own.", schema)


def _ask() -> JsonObject:
    sql = "SELECT event_name, payload->>'plan' AS plan FROM events"
    date = {"type": "string", "format": "date"}
    examples = {
        "application/json": [{"event_name": "signed_up", "plan": "pro"}],
        "application/x-ndjson": '{"event_name":"signed_up","plan":"pro"}\n',
        "text/csv": "event_name,plan\nsigned_up,pro\n",
    }
    content: JsonObject = {
        media: {"schema": {} if media == "application/json" else {"type": "string"}, "example": example}
        for media, example in examples.items()
    }
    arrow = FORMS["arrow"]
    content[arrow] = {"schema": {"type": "string", "contentMediaType": arrow}}
    return {
        "operationId": "query",
        "tags": ["files"],
        "summary": "Ask SQL",
        "description": "One SELECT in DuckDB's SQL over the views `events`, `logs` and `snapshots`: the "
        "rows in files and those not in files yet, each exactly once. A workspace's key sees only its own "
        "rows. Requires the extra `query`; `[query]` sets its limits.",
        "security": SECURITY,
        "parameters": [
            _workspace(),
            _query("since", "Only rows received on or after this day, UTC.", date),
            _query("until", "Only rows received up to and including this day, UTC.", date),
            _query(
                "format",
                "The format of the answer; overrides the Accept header.",
                {"type": "string", "enum": list(FORMS)},
            ),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "text/plain": {"schema": {"type": "string"}, "example": sql},
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["sql"],
                        "properties": {"sql": {"type": "string"}},
                    },
                    "example": {"sql": sql},
                },
            },
        },
        "responses": {
            "200": {
                "description": "The rows; an array of objects unless Accept names another format.",
                "headers": {"X-Row-Count": {"schema": {"type": "integer"}}},
                "content": content,
            },
            **error_answers(
                errors.MalformedBatch,
                errors.Unauthenticated,
                errors.Forbidden,
                errors.NotFound,
                errors.BodyTooLarge,
                errors.QueryLimit,
                errors.Overloaded,
            ),
        },
    }


def _tail() -> JsonObject:
    text = {"type": "string"}
    row = (
        'data: {"kind":"events","timestamp":"2026-09-21T14:00:00.000Z",'
        '"received_at":"2026-09-21T14:00:01.042Z","workspace":1,'
        '"event_type":"track","event_name":"signed_up","device_id":null,"session_id":null,'
        '"source_ip":"192.0.2.7","payload":{"plan":"pro"}}\n\n'
    )
    return {
        "operationId": "tail",
        "tags": ["files"],
        "summary": "Watch rows as they are accepted",
        "description": "Server-sent events: each row is an event without a name whose data is JSON. A "
        "client that reads too slowly misses rows, and gets an event `missed` with their number. All "
        "filters must match.",
        "security": [*SECURITY, {"queryKey": []}],
        "parameters": [
            _workspace(),
            _query("kind", f"Only these kinds, separated by commas: {', '.join(Kind)}.", text),
            *(_query(column, "Only rows with this value in that column.", text) for column in COLUMNS),
            _query("contains", "Only rows whose payload, as stored, contains this text.", text),
        ],
        "responses": {
            "200": {
                "description": "Rows, until either side closes the connection.",
                "content": {"text/event-stream": {"schema": text, "example": row}},
            },
            **error_answers(
                errors.MalformedBatch,
                errors.Unauthenticated,
                errors.Forbidden,
                errors.NotFound,
                errors.Overloaded,
            ),
        },
    }
