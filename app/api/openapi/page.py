"""An OpenAPI document as a page: one document, no scripts, nothing loaded from elsewhere.

FastAPI's own page loads its renderer from the internet, and stays empty where there is none.
"""

import json
from html import escape
from typing import Any, Final

from app.api.openapi.rows import JsonObject

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5d6675; --line: #dfe3ea; --paper: #fff;
  --band: #f5f7fa; --link: #0b5bd3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ef; --soft: #98a2b3; --line: #2e3543;
  --paper: #14181f; --band: #1b212b; --link: #7db1ff; } }
body { margin: 0 auto; max-width: 60rem; padding: 2rem clamp(1rem, 4vw, 3rem); background: var(--paper);
  color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: .9rem; margin: 1.1rem 0 .3rem; color: var(--soft); }
p { margin: .3rem 0; } a { color: var(--link); } .soft { color: var(--soft); }
details { border: 1px solid var(--line); border-radius: 8px; margin: .5rem 0; }
details details { border: 0; margin: 0; }
summary { cursor: pointer; padding: .55rem .8rem; } details details summary { padding: .2rem 0; }
.call { padding: 0 .8rem .9rem; }
.method { display: inline-block; min-width: 3.6rem; font-weight: 700; color: var(--link); }
code, pre { font: .85em/1.5 ui-monospace, monospace; }
pre { background: var(--band); border-radius: 6px; padding: .6rem .8rem; overflow-x: auto; margin: .3rem 0; }
table { border-collapse: collapse; width: 100%; }
td { padding: .3rem .8rem .3rem 0; border-top: 1px solid var(--line); vertical-align: top; }
td:first-child { white-space: nowrap; width: 1%; }
"""


def render_docs_page(document: JsonObject) -> str:
    """HTML of every call: its parameters, bodies, answers and examples."""
    sections = "".join(_section(tag, document) for tag in document["tags"])
    info = document["info"]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(info["title"])}: the API</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(info["title"])} <span class="soft">{escape(info["version"])}</span></h1>
<p>{_text(info["description"])} <a href="/openapi.json">openapi.json</a></p>
{sections}
<h2>Keys</h2>
{_table(_security_rows(document))}
</body>
</html>
"""


def _section(tag: JsonObject, document: JsonObject) -> str:
    calls = "".join(
        _call(method, path, call, document)
        for path, methods in document["paths"].items()
        for method, call in methods.items()
        if method != "parameters" and tag["name"] in call["tags"]
    )
    return f"<h2>{escape(tag['description'])}</h2>\n{calls}"


def _call(method: str, path: str, call: JsonObject, document: JsonObject) -> str:
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
        + (f"<h3>Parameters</h3>{_table(rows)}" if rows else "")
        + (f"<h3>Body</h3>{_bodies(body, document)}" if body else "")
        + f"<h3>Answers</h3>{_table(answers)}</div></details>\n"
    )


def _parameter(parameter: JsonObject) -> str:
    schema = parameter["schema"]
    facts = [
        f"{word} <code>{escape(str(schema[word]))}</code>"
        for word in ("minimum", "maximum", "default")
        if word in schema
    ]
    if "enum" in schema:
        facts.append("one of " + ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"]))
    return " · ".join([text for text in [_text(parameter.get("description", ""))] if text] + facts)


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
    return "".join(
        f"<pre>{escape(_pretty(entry['value']))}</pre>" for entry in body.get("examples", {}).values()
    )


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _security_rows(document: JsonObject) -> list[tuple[str, str]]:
    schemes = document["components"]["securitySchemes"]
    return [(escape(name), _text(scheme["description"])) for name, scheme in schemes.items()]


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{name}</td><td>{text}</td></tr>" for name, text in rows)
    return f"<table>{cells}</table>"


def _text(text: str) -> str:
    """Text with `code` between backticks."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _resolve(entry: JsonObject, document: JsonObject) -> JsonObject:
    """What a `$ref` within the document points to, else the entry itself."""
    reference = entry.get("$ref")
    if reference is None:
        return entry
    found = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found
