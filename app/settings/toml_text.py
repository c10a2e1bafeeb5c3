"""The configuration in force, as TOML that the service would read again; secrets are masked."""

import json
import re
from collections.abc import Iterator
from typing import Any

from app.settings.settings import Settings


def to_toml(settings: Settings) -> str:
    """Every key with its value; keys without a value, and secrets, are comments."""
    return "\n".join(_tables(settings.model_dump(mode="json"), ())).strip() + "\n"


def _tables(values: dict[str, Any], name: tuple[str, ...]) -> Iterator[str]:
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    if name and len(tables) < len(values):
        yield f"\n[{'.'.join(name)}]"
    for key, value in values.items():
        if key not in tables:
            yield _line(key, value)
    for key, table in tables.items():
        yield from _tables(table, (*name, key))


def _line(key: str, value: Any) -> str:
    if value is None:
        return f"# {key} is not set"
    if key == "admin_token":
        return f"# {key} is set, but not shown"
    return f"{_key(key)} = {_value(value)}"


def _key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        members = (f"{key} = {_value(each)}" for key, each in value.items() if each is not None)
        return f"{{ {', '.join(members)} }}"
    return json.dumps(value, ensure_ascii=False)
