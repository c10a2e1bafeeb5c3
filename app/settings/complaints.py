"""What to tell an operator about a wrong value: its key, what is allowed, and where it was set."""

import difflib
import json
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from app.settings.sources import Key, Sources


def complaints(error: ValidationError, model: type[BaseModel], sources: Sources) -> list[str]:
    """One line per mistake: the key, what is wrong, what is allowed, and where it was set."""
    lines = []
    for details in error.errors(include_url=False):
        key = _key(details["loc"], model)
        text = _explain(details, key, model)
        name = _dotted(key)
        lines.append(f"{name + ': ' if name else ''}{text} (in {sources.of(key)})")
    return sorted(set(lines))


def _key(location: Key, model: type[BaseModel]) -> Key:
    """pydantic names the member of a union that it tried; an operator does not know such members."""
    key: list[str | int] = []
    for part in location:
        if key and isinstance(part, str) and _model_at(key, model) is None:
            break
        key.append(part)
    return tuple(key)


def _dotted(key: Key) -> str:
    return "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in key).removeprefix(".")


def _explain(details: ErrorDetails, key: Key, model: type[BaseModel]) -> str:
    match details["type"]:
        case "extra_forbidden":
            return "unknown key; " + _nearest(key, model)
        case "literal_error":
            allowed = details["ctx"]["expected"].replace("'", '"')
            return f"{_shown(details['input'])} is not allowed; allowed: {allowed}"
        case "missing":
            return "is required"
        case "model_type" | "dict_type":
            return "is a table of keys, not a value"
        case "value_error":
            return str(details["ctx"]["error"])
    return f"{details['msg'].replace('Input should', 'should')}, not {_shown(details['input'])}"


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "the given value"
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _nearest(key: Key, model: type[BaseModel]) -> str:
    section, name = _model_at(key[:-1], model) or model, str(key[-1])
    known = list(section.model_fields)
    if close := difflib.get_close_matches(name, known, n=1):
        return f"did you mean {close[0]}?"
    elsewhere = [other for other in _keys(model) if other.endswith(f".{name}")]
    if elsewhere:
        return f"it belongs at {elsewhere[0]}"
    return f"allowed here: {', '.join(known)}"


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        inner = _model_in(info.annotation)
        if inner is None:
            yield prefix + name
        else:
            named = "<name>." if get_origin(info.annotation) is dict else ""
            yield from _keys(inner, f"{prefix}{name}.{named}")


def _model_at(key: Sequence[str | int], model: type[BaseModel]) -> type[BaseModel] | None:
    """The section a key leads to; a key below `sinks` skips the sink's name, one in a list its number."""
    section: type[BaseModel] | None = model
    named_next = False
    for part in key:
        if named_next:
            named_next = False
            continue
        if section is None or str(part) not in section.model_fields:
            return None
        annotation = section.model_fields[str(part)].annotation
        section = _model_in(annotation)
        named_next = section is not None and annotation is not section
    return section


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field is, or is a table of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(annotation, UnionType):
        return None
    arguments = get_args(annotation)
    if get_origin(annotation) is list:
        return _model_in(arguments[0])
    return _model_in(arguments[-1]) if len(arguments) == 2 else None
