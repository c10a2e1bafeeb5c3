"""An OpenAPI document as a page, without scripts or external resources.

FastAPI's own page loads its renderer from the internet, and stays empty without access to it.
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from html import escape
from types import MappingProxyType
from typing import Any, Final

from app.api.openapi.rows import JsonObject
from app.api.pages.shell import Viewer, render_page

KEY: Final = "$KEY"
TOKEN: Final = "$ADMIN_TOKEN"


def render_docs_page(document: JsonObject, base: str = "", viewer: Viewer = Viewer()) -> str:  # noqa: B008 (frozen)
    """HTML of every call: a command to paste, its parameters, bodies, answers and examples.

    base: the URL of the service, for the commands to paste.
    """
    sections = "".join(_section(tag, document, base) for tag in document["tags"])
    info = document["info"]
    return render_page(
        "The API",
        f"""<h1>{escape(info["title"])} <span class="soft">{escape(info["version"])}</span></h1>
<p>{_text(info["description"])} <a href="/openapi.json">openapi.json</a></p>
<p class="soft">The lines to paste take the key of a workspace from <code>KEY</code>, the admin token from
<code>ADMIN_TOKEN</code>.</p>
{sections}
<h2>Keys</h2>
{_table(_security_rows(document))}""",
        viewer,
        "/docs",
    )


def _section(tag: JsonObject, document: JsonObject, base: str) -> str:
    calls = "".join(
        _call(method, path, call, document, base)
        for path, methods in document["paths"].items()
        for method, call in methods.items()
        if method != "parameters" and tag["name"] in call["tags"]
    )
    return f"<h2>{escape(tag['description'])}</h2>\n{calls}"


def _call(method: str, path: str, call: JsonObject, document: JsonObject, base: str) -> str:
    shared = document["paths"][path].get("parameters", [])
    parameters = [_resolve(entry, document) for entry in [*shared, *call.get("parameters", [])]]
    rows = [
        (f"{entry['name']} <span class='soft'>{entry['in']}</span>", _parameter(entry))
        for entry in parameters
    ]
    body = call.get("requestBody", {}).get("content", {})
    answers = [
        (f"<b>{escape(status)}</b>", _answer(_resolve(answer, document), document))
        for status, answer in call["responses"].items()
    ]
    return (
        f'<details><summary><span class="method">{method.upper()}</span> <code>{escape(path)}</code> '
        f'<span class="soft">{escape(call["summary"])}</span></summary><div class="call">'
        f"<p>{_text(call.get('description', ''))}</p>"
        f"<pre>{escape(curl_line(method, path, call, parameters, base))}</pre>"
        + (f"<h3>Parameters</h3>{_table(rows)}" if rows else "")
        + (f"<h3>Body</h3>{_bodies(body, document)}" if body else "")
        + f"<h3>Answers</h3>{_table(answers)}</div></details>\n"
    )


def curl_line(method: str, path: str, call: JsonObject, parameters: Sequence[JsonObject], base: str) -> str:
    """A shell command that makes this call, with the first body that has an example."""
    for entry in parameters:
        if entry["in"] == "path":
            path = path.replace("{" + entry["name"] + "}", str(entry.get("example", entry["name"].upper())))
    words = ["curl -sS"]
    if method == "head":
        words.append("-I")
    elif method == "get" and "text/event-stream" in call["responses"].get("200", {}).get("content", {}):
        words.append("-N")
    elif method not in ("get", "post") or (method == "post" and "requestBody" not in call):
        words.append(f"-X {method.upper()}")
    words.append(shlex.quote(base + path))
    if credential := _credential(call):
        words.append(f'-H "Authorization: Bearer {credential}"')
    return " ".join(words) + _data(call.get("requestBody", {}).get("content", {}))


def _credential(call: JsonObject) -> str:
    schemes = {name for each in call.get("security", ()) for name in each}
    if "bearerKey" in schemes:
        return KEY
    return TOKEN if "adminToken" in schemes else ""


def _data(content: JsonObject) -> str:
    """The curl options that send a body: an example if there is one, else a file."""
    for media_type, body in content.items():
        shown = list(_shown_examples(body))
        if shown:
            text = shown[0] if isinstance(shown[0], str) else json.dumps(shown[0], ensure_ascii=False)
            return f" -H {shlex.quote(f'Content-Type: {media_type}')} \\\n  --data-binary {shlex.quote(text)}"
    for media_type in content:
        return f" -H {shlex.quote(f'Content-Type: {media_type}')} \\\n  --data-binary @FILE"
    return ""


def _shown_examples(body: JsonObject) -> Iterator[Any]:
    if "example" in body:
        yield body["example"]
    for entry in body.get("examples", {}).values():
        yield entry["value"]


def _parameter(parameter: JsonObject) -> str:
    schema = parameter["schema"]
    facts = [fact for fact in [type_of(schema)] if fact]
    facts += [
        f"{words} <code>{escape(str(schema[word]))}</code>"
        for word, words in _LIMITS.items()
        if word in schema
    ]
    if "enum" in schema:
        facts.append("one of " + ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"]))
    return " · ".join([text for text in [_text(parameter.get("description", ""))] if text] + facts)


_LIMITS: Final = MappingProxyType(
    {
        "minimum": "from",
        "maximum": "to",
        "minLength": "characters from",
        "maxLength": "characters up to",
        "pattern": "like",
        "default": "else",
    }
)
"""A short description of the type that a schema allows."""


def type_of(schema: JsonObject) -> str:
    """`string, uuid`, `array of object`, `integer or string`; empty if any type is allowed."""
    if "$ref" in schema:
        return f"<i>{escape(schema['$ref'].rpartition('/')[2])}</i>"
    for word in ("oneOf", "anyOf"):
        if word in schema:
            return " or ".join(dict.fromkeys(filter(None, map(type_of, schema[word]))))
    types = schema.get("type", ())
    names = [types] if isinstance(types, str) else list(types)
    if not names and "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if names == ["array"] and schema.get("items"):
        return f"<i>array</i> of {type_of(schema['items']) or '<i>anything</i>'}"
    text = " or ".join(f"<i>{escape(name)}</i>" for name in names)
    return f"{text}, <i>{escape(schema['format'])}</i>" if text and "format" in schema else text


def _bodies(content: JsonObject, document: JsonObject) -> str:
    types = ", ".join(f"<code>{escape(media_type)}</code>" for media_type in content)
    shown: list[str] = []
    for body in content.values():
        for part in (_fields(body.get("schema", {}), document), _examples(body)):
            if part and part not in shown:
                shown.append(part)
    return f"<p>{types}</p>{''.join(shown)}"


def _fields(schema: JsonObject, document: JsonObject) -> str:
    schema = _resolve(schema, document)
    for alternative in schema.get("oneOf", []):
        alternative = _resolve(alternative, document)
        if "properties" in alternative:
            schema = alternative
    required = schema.get("required", [])
    rows = [
        (escape(name) + (" *" if name in required else ""), _parameter({"schema": field} | field))
        for name, field in schema.get("properties", {}).items()
    ]
    return f"{_table(rows)}<p class='soft'>* required</p>" if rows else ""


def _answer(answer: JsonObject, document: JsonObject) -> str:
    examples = "".join(_examples(body) for body in answer.get("content", {}).values())
    folded = f"<details><summary class='soft'>example</summary>{examples}</details>" if examples else ""
    return _text(answer["description"]) + folded


def _examples(body: JsonObject) -> str:
    return "".join(f"<pre>{escape(_pretty(value))}</pre>" for value in _shown_examples(body))


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _security_rows(document: JsonObject) -> list[tuple[str, str]]:
    schemes = document["components"]["securitySchemes"]
    return [(escape(name), _text(scheme["description"])) for name, scheme in schemes.items()]


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{name}</td><td>{text}</td></tr>" for name, text in rows)
    return f'<table class="facts">{cells}</table>'


def _text(text: str) -> str:
    """Text with `code` between backticks."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _resolve(entry: JsonObject, document: JsonObject) -> JsonObject:
    """The target of a `$ref` within the document, else the entry itself."""
    reference = entry.get("$ref")
    if reference is None:
        return entry
    found = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found
