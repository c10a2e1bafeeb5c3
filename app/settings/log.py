"""`[log]`: the format of log lines, and which are written."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from app.settings.fields import Section

Level = Literal["debug", "info", "warning", "error"]

_NAME = re.compile(r"[A-Za-z_][\w]*(\.[A-Za-z_]\w*)*")


def _names(levels: dict[str, Level]) -> dict[str, Level]:
    for name in levels:
        if not _NAME.fullmatch(name):
            raise ValueError(f'"{name}" is not the name of a logger, such as "app.api" or "uvicorn"')
    return levels


def _flat(levels: object) -> object:
    """TOML reads a dotted name without quotes as nested tables, and so does an environment variable."""
    if not isinstance(levels, dict):
        return levels
    flat: dict[str, object] = {}
    for name, level in levels.items():
        inner = _flat(level)
        if isinstance(inner, dict):
            flat |= {f"{name}.{below}": value for below, value in inner.items()}
        else:
            flat[str(name)] = inner
    return flat


class LogSettings(Section):
    """`[log]`: on standard error."""

    format: Literal["console", "json"] = Field(
        default="console", description="console: lines for people; json: one JSON object per line"
    )
    level: Level = Field(default="info", description="lines below this level are not written")
    levels: Annotated[dict[str, Level], BeforeValidator(_flat), AfterValidator(_names)] = Field(
        default={},
        description='different levels for single loggers, by name, such as { "app.publish" = "debug" }',
    )
