"""Writes the fields of rows in docs/json.md from the schemas of the OpenAPI document: `make fields-page`."""

from pathlib import Path
from typing import Any, Final

from app.api.openapi.rows import row_schema
from app.kinds import Kind

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "json.md"
BEGIN: Final = "<!-- fields: `make fields-page` writes this from the schemas -->\n"
END: Final = "<!-- end of fields -->\n"


def page() -> str:
    """docs/json.md as it is to be."""
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert rest, "the page has its marks"
    return before + BEGIN + "\n" + "\n".join(map(_kind, Kind)) + "\n" + END + after


def _kind(kind: Kind) -> str:
    schema = row_schema(kind)
    required = schema.get("required", ())
    lines = [
        f"| `{name}` | {_type(field)} | {'yes' if name in required else ''} | {_text(field)} |"
        for name, field in schema["properties"].items()
    ]
    said = " ".join(filter(None, [f"`POST /v1/{kind.value}`.", schema.get("description", "")]))
    head = f"{said}\n\n| field | type | required | meaning |\n|---|---|---|---|\n"
    return head + "\n".join(lines) + "\n"


def _type(field: dict[str, Any]) -> str:
    for word in ("oneOf", "anyOf"):
        if word in field:
            return " or ".join(dict.fromkeys(_type(each) for each in field[word]))
    types = field.get("type", "anything")
    text = types if isinstance(types, str) else " or ".join(types)
    return f"{text}, {field['format']}" if "format" in field else text


def _text(field: dict[str, Any]) -> str:
    said = [field["description"]] if "description" in field else []
    if "enum" in field:
        said.append("One of " + ", ".join(f"`{value}`" for value in field["enum"]) + ".")
    return " ".join(said).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
