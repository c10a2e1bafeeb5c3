"""Answers held against what openapi/openapi.json says of them."""

import json
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "openapi" / "openapi.json"


def check_answer(path: str, method: str, status: int, body: object) -> None:
    """Raises ValidationError unless the document describes the body, and every member of it."""
    document = json.loads(DOCUMENT.read_text())
    answer = document["paths"][path][method.lower()]["responses"][str(status)]
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    schema = answer["content"]["application/json"]["schema"]
    components = {
        "schemas": {name: _closed(each) for name, each in document["components"]["schemas"].items()}
    }
    Draft202012Validator({**schema, "components": components}).validate(body)


def _closed(schema: Any) -> Any:
    """A schema that allows no member but those it names."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(each) for key, each in schema.items()}
    if "properties" in schema and "additionalProperties" not in schema:
        closed["additionalProperties"] = False
    return closed
