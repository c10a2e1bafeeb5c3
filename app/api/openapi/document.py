"""The OpenAPI document of all calls, including those that FastAPI does not route.

`openapi/openapi.json` in the repository is this document: `make openapi`.
"""

from fastapi import FastAPI

from app.api.openapi.admin import admin_paths
from app.api.openapi.answers import component_responses, component_schemas
from app.api.openapi.clients import client_paths
from app.api.openapi.generated import generated
from app.api.openapi.ingest import ingest_paths
from app.api.openapi.questions import question_paths
from app.api.openapi.rows import JsonObject, row_schema
from app.kinds import Kind


def openapi_document(app: FastAPI) -> JsonObject:
    """The document of an application: title and version are the application's."""
    paths, schemas = generated(app)
    native = ingest_paths() | paths | admin_paths() | question_paths()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": app.title,
            "version": app.version,
            "description": "Takes batches of events, logs and snapshots, answers with a durable "
            "receipt, writes Parquet files.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "ingest", "description": "Batches in."},
            {"name": "clients", "description": "Send batches in the protocols of other clients."},
            {"name": "files", "description": "Parquet out."},
            {"name": "operation", "description": "For operators of the service."},
        ],
        "paths": native | client_paths(native),
        "components": {
            "schemas": {kind.value: row_schema(kind) for kind in Kind} | component_schemas() | schemas,
            "responses": component_responses(),
            "headers": _headers(),
            "parameters": {"RequestId": _request_id_parameter()},
            "securitySchemes": _security_schemes(),
        },
    }


def _headers() -> JsonObject:
    return {
        "RequestId": {
            "description": "The id of the request in the service's log.",
            "schema": {"type": "string"},
        },
        "RetryAfter": {
            "description": "Seconds after which to send the request again.",
            "schema": {"type": "integer", "minimum": 0},
        },
    }


def _request_id_parameter() -> JsonObject:
    return {
        "name": "X-Request-ID",
        "in": "header",
        "description": "An id for this request, kept if it has up to 64 letters, digits and ._:/+=@-",
        "schema": {"type": "string"},
    }


def _security_schemes() -> JsonObject:
    key = "A workspace's API key: 32 hex characters"
    return {
        "bearerKey": {"type": "http", "scheme": "bearer", "description": f"{key}."},
        "headerKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": f"{key}."},
        "basicKey": {
            "type": "http",
            "scheme": "basic",
            "description": f"{key}, as the user name, with an empty password.",
        },
        "queryKey": {
            "type": "apiKey",
            "in": "query",
            "name": "token",
            "description": f"{key}; for beacons, which cannot set headers. URLs end up in logs.",
        },
        "adminToken": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of auth.admin_token, also as the password of HTTP Basic. Not "
            "needed if the service listens on loopback only and no token is set.",
        },
    }
