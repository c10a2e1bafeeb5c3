"""The admin calls in the OpenAPI document."""

from app import errors
from app.api.files.response import PARQUET_MEDIA_TYPE
from app.api.openapi.answers import ADMIN_OR_KEY, data_file_example, error_answers
from app.api.openapi.rows import JsonObject

_ADMIN: list[JsonObject] = [{"adminToken": []}, {}]


def admin_paths() -> JsonObject:
    """`paths` of the calls that do not answer with JSON: FastAPI generates the others."""
    return {
        "/files/{path}": {"get": _get_file(), "head": _head_file(), "parameters": [_path_parameter()]},
        "/metrics": {"get": _metrics()},
    }


def _path_parameter() -> JsonObject:
    return {
        "name": "path",
        "in": "path",
        "required": True,
        "description": "As listed by `/files`; slashes are not escaped.",
        "schema": {"type": "string"},
        "example": data_file_example()["path"],
    }


def _get_file() -> JsonObject:
    content = {PARQUET_MEDIA_TYPE: {"schema": {"type": "string", "contentMediaType": PARQUET_MEDIA_TYPE}}}
    tag = {"ETag": {"schema": {"type": "string"}, "description": "Strong ETag of this version of the file."}}
    part = {"Content-Range": {"schema": {"type": "string"}}}
    return {
        "operationId": "getFile",
        "tags": ["files"],
        "summary": "Get a published file",
        "description": "One version of the file, even if it is replaced meanwhile.",
        **ADMIN_OR_KEY,
        "parameters": [
            {
                "name": name,
                "in": "header",
                "description": description,
                "schema": {"type": "string"},
            }
            for name, description in (
                ("Range", "One range of bytes."),
                ("If-Range", "The Range applies only if the ETag is still this one."),
                ("If-Match", "412 unless the ETag is still this one."),
                ("If-None-Match", "304 if the ETag is still this one."),
            )
        ],
        "responses": {
            "200": {"description": "The file.", "headers": tag, "content": content},
            "206": {"description": "The requested part.", "headers": tag | part, "content": content},
            "304": {"description": "Not changed.", "headers": tag},
            "412": {"description": "Changed.", "headers": tag},
            "416": {"description": "The range begins after the end of the file.", "headers": tag | part},
            **error_answers(errors.Unauthenticated, errors.Forbidden, errors.NotFound, errors.Overloaded),
        },
    }


def _head_file() -> JsonObject:
    return {
        "operationId": "headFile",
        "tags": ["files"],
        "summary": "Size and ETag of a published file",
        **ADMIN_OR_KEY,
        "responses": {
            "200": {"description": "Content-Length, ETag, Last-Modified."},
            "404": {"description": "Does not exist, or is not visible with this key."},
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
                "description": "The Prometheus text format.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            **error_answers(errors.Unauthenticated, errors.Forbidden),
        },
    }
