"""The format of log lines, and which are written: `[log]`.

A line about one request has its `request_id`, and its `workspace_id` if known: as members of the JSON object,
or after the text.
"""

import json
import logging
import time
from collections.abc import Mapping
from typing import Final

from app.settings.plan import LogPlan, Plan

FIELDS: Final = (
    "request_id",
    "workspace_id",
    "method",
    "path",
    "status",
    "bytes",
    "duration_ms",
    "client",
)
"""What a line may carry besides its text; given to the logger as `extra`."""

LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

QUIET: Final[Mapping[str, int]] = {"uvicorn": logging.WARNING}
"""Loggers of libraries whose lines the service replaces by its own."""


def formatter_of(plan: LogPlan) -> logging.Formatter:
    return JsonLines() if plan.format == "json" else ConsoleLines()


def set_levels(plan: LogPlan, before: LogPlan | None = None) -> None:
    """before: the previous settings, whose levels no longer apply."""
    logging.getLogger().setLevel(LEVELS[plan.level])
    for name in before.levels if before is not None else ():
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name, number in QUIET.items():
        logging.getLogger(name).setLevel(number)
    for name, level in plan.levels.items():
        logging.getLogger(name).setLevel(LEVELS[level])


class LevelsInForce:
    """Replaces the current levels by those of another plan."""

    def __init__(self, plan: LogPlan) -> None:
        self._plan = plan

    def __call__(self, plan: Plan) -> None:
        set_levels(plan.log, self._plan)
        self._plan = plan.log


class ConsoleLines(logging.Formatter):
    """Time, level, logger, text, and fields of the request as `name=value`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        line = super().formatMessage(record)
        known = [f"{name}={value}" for name in FIELDS if (value := getattr(record, name, None)) is not None]
        return " ".join([line, *known])


class JsonLines(logging.Formatter):
    """One object per line: time, level, logger, message; error: a traceback; FIELDS if known."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
