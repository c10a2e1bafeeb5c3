"""The description that FastAPI generates for the calls it routes, with parameters and answers from the
code."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api.openapi.rows import JsonObject


def generated(app: FastAPI) -> tuple[JsonObject, JsonObject]:
    """`paths`, and the `components.schemas` that they refer to."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = document["components"]["schemas"]
    for calls in document["paths"].values():
        for call in calls.values():
            # A parameter that cannot be read is answered 400, as everything else that cannot be.
            call["responses"].pop("422", None)
            for status, answer in call["responses"].items():
                if "$ref" in answer:
                    call["responses"][status] = {"$ref": answer["$ref"]}
            for parameter in call.get("parameters", ()):
                schema = _without_null(parameter["schema"])
                name = schema.get("$ref", "").rpartition("/")[2]
                parameter["schema"] = dict(schemas.get(name, schema))
                parameter["schema"].pop("description", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return _plain(document["paths"]), _plain(schemas)


def _without_null(schema: JsonObject) -> JsonObject:
    """Optional parameters are absent, not null."""
    others = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(others) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **others[0]}


def _plain(value: Any) -> Any:
    """Removes the titles that pydantic adds, which only repeat the names."""
    if isinstance(value, dict):
        return {
            key: _plain(each) for key, each in value.items() if key != "title" or not isinstance(each, str)
        }
    if isinstance(value, float) and value.is_integer():  # limits, which FastAPI keeps as floats
        return int(value)
    return [_plain(each) for each in value] if isinstance(value, list) else value
