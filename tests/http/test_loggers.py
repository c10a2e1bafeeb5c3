"""What the loggers of this world write by default lands in the right columns: one line of each, over HTTP."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from tests.support.service import Service

AT = 1_714_564_800_123
"""2024-05-01T12:00:00.123Z"""

BACKENDS = ["directory", "workers"]


class Line(NamedTuple):
    """What a logger writes, and what must be stored; `payload` holds what no column takes."""

    written: str
    level: str
    message: Any
    source: str | None = None
    service: str | None = None
    payload: Mapping[str, Any] = MappingProxyType({})
    at: int | None = AT


LINES = {
    "slog": Line(
        '{"time":"2024-05-01T12:00:00.123456789Z","level":"WARN","msg":"disk almost full","free":3}',
        "warning", "disk almost full", payload={"free": 3},
    ),
    "slog between two levels": Line(
        '{"time":"2024-05-01T14:00:00.123+02:00","level":"INFO+2","msg":"m"}', "info", "m"
    ),
    "zap": Line(
        '{"level":"dpanic","ts":1714564800.123,"caller":"a/b.go:7","msg":"bad state","stacktrace":"x"}',
        "critical", "bad state", payload={"caller": "a/b.go:7", "stacktrace": "x"},
    ),
    "zerolog": Line('{"level":"fatal","time":1714564800,"message":"gone"}', "critical", "gone", at=AT - 123),
    "pino": Line(
        '{"level":50,"time":1714564800123,"pid":7,"hostname":"h1","name":"shop","msg":"failed","err":{"a":1}}',
        "error", "failed", "h1", "shop", {"pid": 7, "err": {"a": 1}},
    ),
    "pino without a message": Line(
        '{"level":30,"time":1714564800123,"pid":7,"hostname":"h1","a":1}', "info", None, "h1",
        payload={"pid": 7, "a": 1},
    ),
    "bunyan": Line(
        '{"name":"api","hostname":"h2","pid":9,"level":60,"msg":"down","time":"2024-05-01T12:00:00.123Z","v":0}',
        "critical", "down", "h2", "api", {"pid": 9, "v": 0},
    ),
    "winston": Line('{"level":"silly","message":"hm","timestamp":"2024-05-01T12:00:00.123Z"}', "trace", "hm"),
    "winston's http": Line(
        '{"level":"http","message":"GET /","timestamp":"2024-05-01T12:00:00.123Z"}', "info", "GET /"
    ),
    "tracing of Rust": Line(
        '{"timestamp":"2024-05-01T12:00:00.123456Z","level":"ERROR",'
        '"fields":{"message":"refused","code":7},"target":"app::net","span":{"name":"s"}}',
        "error", "refused", payload={"fields": {"code": 7}, "target": "app::net", "span": {"name": "s"}},
    ),
    "logback": Line(
        '{"@timestamp":"2024-05-01T14:00:00.123+02:00","@version":"1","message":"m","logger_name":"a.B",'
        '"thread_name":"main","level":"WARN","level_value":30000}',
        "warning", "m",
        payload={"@version": "1", "logger_name": "a.B", "thread_name": "main", "level_value": 30000},
    ),
    "ECS, nested": Line(
        '{"@timestamp":"2024-05-01T12:00:00.123Z","log":{"level":"ERROR","logger":"x"},"message":"m",'
        '"service":{"name":"shop","version":"2"},"host":{"name":"h3"},"ecs":{"version":"8"}}',
        "error", "m", "h3", "shop",
        {"log": {"logger": "x"}, "service": {"version": "2"}, "ecs": {"version": "8"}},
    ),
    "ECS, flat": Line(
        '{"@timestamp":"2024-05-01T12:00:00.123Z","log.level":"debug","message":"m","service.name":"shop",'
        '"host.name":"h3","log.logger":"x"}',
        "debug", "m", "h3", "shop", {"log.logger": "x"},
    ),
    "python-json-logger": Line(
        '{"asctime":"2024-05-01 12:00:00,123","levelname":"CRITICAL","name":"root","message":"m"}',
        "critical", "m", payload={"name": "root"},
    ),
    "structlog": Line(
        '{"user":"u","event":"signed up","level":"info","timestamp":"2024-05-01T12:00:00.123456Z"}',
        "info", "signed up", payload={"user": "u"},
    ),
    "Docker": Line(
        '{"log":"ready\\n","stream":"stderr","time":"2024-05-01T12:00:00.123456789Z"}',
        "info", "ready\n", payload={"stream": "stderr"},
    ),
    "journald": Line(
        '{"MESSAGE":"started","PRIORITY":"3","__REALTIME_TIMESTAMP":"1714564800123456","_HOSTNAME":"h4",'
        '"SYSLOG_IDENTIFIER":"sshd","_PID":"7"}',
        "error", "started", "h4", "sshd", {"_PID": "7"},
    ),
    "journald's bytes": Line(
        '{"MESSAGE":[104,105],"PRIORITY":"6","__REALTIME_TIMESTAMP":"1714564800123456"}', "info", [104, 105]
    ),
    "Fluent Bit": Line(
        '{"date":1714564800.123,"log":"a line","tag":"x"}', "info", "a line", payload={"tag": "x"}
    ),
    "Google Cloud": Line(
        '{"severity":"NOTICE","message":"m","time":"2024-05-01T12:00:00.123Z"}', "notice", "m"
    ),
    "GELF": Line(
        '{"host":"h5","short_message":"m","timestamp":1714564800.123,"level":4,"version":"1.1"}',
        "warning", "m", "h5", payload={"version": "1.1"},
    ),
    "a duration is no time": Line(
        '{"message":"m","level":"info","time":0.35}', "info", "m", payload={"time": 0.35}, at=None
    ),
    "what no alias explains": Line(
        '{"message":"m","severity":"loud","body":{"a":1},"host":5}', "info", "m",
        payload={"severity": "loud", "body": {"a": 1}, "host": 5}, at=None,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def stored(service: Service) -> dict[str, dict[str, Any]]:
    """The row of each line by its name; every line is sent alone."""
    workspaces = dict(zip(LINES, range(1_000, 1_100), strict=False))
    for name, workspace in workspaces.items():
        response = service.post("logs", LINES[name].written, workspace=workspace)
        assert response.status_code == 202, (name, response.text)
    service.flush()
    return {name: service.table("logs", workspace).to_pylist()[0] for name, workspace in workspaces.items()}


@pytest.mark.parametrize("name", LINES)
def test_a_loggers_line_fills_the_columns(stored: dict[str, dict[str, Any]], name: str) -> None:
    line, row = LINES[name], stored[name]
    message = {} if line.message is None else {"message": line.message}
    assert (row["level"], row["source"], row["service"]) == (line.level, line.source, line.service)
    assert row["timestamp"] == (line.at if line.at is not None else row["batch_timestamp"])
    assert json.loads(row["payload"]) == message | dict(line.payload)
