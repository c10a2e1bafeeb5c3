"""The calls of other clients' protocols in the OpenAPI document: from the table that routes them."""

import re

from app.api.openapi.rows import JsonObject
from app.clients.call import Call, FixedCall
from app.clients.table import NATIVE, Path, Table

_KEYS: list[JsonObject] = [{"bearerKey": []}, {"headerKey": []}, {"basicKey": []}, {"queryKey": []}, {}]
_BODY: JsonObject = {
    "description": "As defined by the protocol; compressed bodies are recognised by their first bytes.",
    "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
}


def client_paths(document: JsonObject) -> JsonObject:
    """`paths` of all calls in the table. document: those of the native calls, whose paths may be shared."""
    paths: JsonObject = {}
    for path in Table():
        operations = dict(document.get(path.path, {}))
        for method in path.methods:
            if method != "HEAD" and method.lower() not in operations:
                operations[method.lower()] = _operation(path, method)
        names = re.findall(r"\{(\w+)\}", path.path)
        if names:
            operations["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
            ]
        paths[path.path] = operations
    return paths


def _operation(path: Path, method: str) -> JsonObject:
    fixed = path.fixed_of(method)
    calls = [call for call in path.calls if method in call.methods]
    if fixed is not None or path.path in NATIVE:
        return _fixed(path.path, method, fixed)
    return _call(path.path, method, calls)


def _call(path: str, method: str, calls: list[Call]) -> JsonObject:
    families = [call.family for call in calls]
    return {
        "operationId": _name("post", method, path),
        "tags": ["clients"],
        "summary": " or ".join(family.title for family in families),
        "description": f"Key: {'; '.join(dict.fromkeys(family.guide.key for family in families))}.",
        "security": _KEYS,
        "requestBody": _BODY,
        "responses": {
            "2XX": {
                "description": "What is reported as accepted is on stable storage; in the protocol's "
                "own format."
            },
            "4XX": {"description": "The key, or the whole body, is refused; in the protocol's own format."},
            "5XX": {"description": "To be sent again; in the protocol's own format."},
        },
    }


def _fixed(path: str, method: str, fixed: FixedCall | None) -> JsonObject:
    text = (fixed.answer.__doc__ if fixed is not None else None) or "What clients request before they send."
    return {
        "operationId": _name("probe", method, path),
        "tags": ["clients"],
        "summary": "A fixed answer",
        "description": " ".join(text.split()),
        "responses": {"200": {"description": "The answer that the client expects."}},
    }


def _name(prefix: str, method: str, path: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", path)
    end = "Slash" if path.endswith("/") else ""
    return prefix + method.capitalize() + "".join(word[:1].upper() + word[1:] for word in words) + end
