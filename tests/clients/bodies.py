"""Bodies of every family: of good messages, of bad ones, and of both."""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

TIME_MS: Final = 1_772_600_767_890
TIME: Final = "2026-03-04T05:06:07.890Z"
Wrap = Callable[[list[Any], str], bytes]
"""Makes a body of messages and a key."""


class Family(msgspec.Struct, frozen=True):
    """bad: a message that is refused alone, None where the protocol has none. message: by number.
    wrap: makes the body. head: headers by key."""

    name: str
    path: str
    message: Callable[[int], Any]
    bad: Any
    wrap: Wrap
    head: Callable[[str], dict[str, str]] = lambda key: {"authorization": basic(key)}
    method: str = "POST"
    kind: str = "logs"

    def body(self, numbers: Sequence[int], key: str, bad: int = 0, padding: str = "") -> bytes:
        """padding: text that one message carries, to make the body large."""
        messages = [self.message(number) for number in numbers] + [self.bad] * bad
        if padding:
            messages.append(self.message(padding))  # type: ignore[arg-type]  # stands in the text
        return self.wrap(messages, key)


def basic(key: str) -> str:
    return f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"


def no_head(key: str) -> dict[str, str]:
    return {}


def as_json(key: str) -> dict[str, str]:
    return {"content-type": "application/json", "authorization": f"Bearer {key}"}


def segment(number: object) -> Any:
    return {
        "type": "track",
        "event": f"event {number}",
        "userId": "user-1",
        "timestamp": TIME,
        "messageId": f"segment-{number}",
        "properties": {"number": str(number)},
    }


def posthog(number: object) -> Any:
    return {
        "event": f"event {number}",
        "distinct_id": "user-1",
        "timestamp": TIME,
        "uuid": f"posthog-{number}",
        "properties": {"number": str(number)},
    }


def amplitude(number: object) -> Any:
    return {
        "event_type": f"event {number}",
        "user_id": "user-1",
        "time": TIME_MS,
        "insert_id": f"amplitude-{number}",
        "event_properties": {"number": str(number)},
    }


def mixpanel(number: object) -> Any:
    return {
        "event": f"event {number}",
        "properties": {
            "distinct_id": "user-1",
            "time": TIME_MS / 1000,
            "$insert_id": f"mixpanel-{number}",
            "number": str(number),
        },
    }


def otlp(number: object) -> Any:
    return {"timeUnixNano": str(TIME_MS * 1_000_000), "body": {"stringValue": f"line {number}"}}


def loki(number: object) -> Any:
    return [str(TIME_MS * 1_000_000), f"line {number}"]


def hec(number: object) -> Any:
    return {"time": TIME_MS / 1000, "host": "web-1", "event": f"line {number}"}


def bulk(number: object) -> Any:
    return {"@timestamp": TIME, "message": f"line {number}"}


def firehose(number: object) -> Any:
    return {"data": base64.b64encode(json.dumps(bulk(number)).encode()).decode()}


def vercel(number: object) -> Any:
    return {
        "id": f"vercel-{number}",
        "message": f"line {number}",
        "timestamp": TIME_MS,
        "projectId": "p",
        "type": "stdout",
        "source": "lambda",
    }


def pino(number: object) -> Any:
    return {"level": 30, "time": TIME_MS, "hostname": "web-1", "name": "app", "msg": f"line {number}"}


def otlp_request(records: list[Any], key: str) -> bytes:
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).encode()


def otlp_message(records: list[Any], key: str) -> bytes:
    request = ExportLogsServiceRequest()
    logs = request.resource_logs.add().scope_logs.add()
    for record in records:
        added = logs.log_records.add(time_unix_nano=int(record["timeUnixNano"]))
        added.body.string_value = record["body"]["stringValue"]
    content: bytes = request.SerializeToString()
    return content


def bulk_lines(documents: list[Any], key: str) -> bytes:
    lines = [json.dumps(each) for document in documents for each in ({"index": {"_index": "app"}}, document)]
    return "".join(f"{line}\n" for line in lines).encode()


def dumped(content: Any) -> bytes:
    return json.dumps(content).encode()


FAMILIES: Final = (
    Family("segment", "/v1/batch", segment, 7, lambda m, key: dumped({"batch": m}), kind="events"),
    Family(
        "jitsu",
        "/api/s/bulk",
        segment,
        7,
        lambda m, key: dumped({"batch": m}),
        lambda key: {"x-write-key": f"{key}:any"},
        kind="events",
    ),
    Family(
        "posthog",
        "/batch/",
        posthog,
        7,
        lambda m, key: dumped({"api_key": key, "batch": m}),
        no_head,
        kind="events",
    ),
    Family(
        "amplitude",
        "/2/httpapi",
        amplitude,
        7,
        lambda m, key: dumped({"api_key": key, "events": m}),
        no_head,
        kind="events",
    ),
    Family("mixpanel", "/import", mixpanel, 7, lambda m, key: dumped(m), kind="events"),
    Family("otlp", "/v1/logs", otlp, 7, otlp_request, as_json),
    Family(
        "otlp-protobuf",
        "/v1/logs",
        otlp,
        None,
        otlp_message,
        lambda key: {"content-type": "application/x-protobuf", "x-api-key": key},
    ),
    Family(
        "loki",
        "/loki/api/v1/push",
        loki,
        ["never", "line"],
        lambda m, key: dumped({"streams": [{"stream": {"app": "a"}, "values": m}]}),
    ),
    Family(
        "splunk",
        "/services/collector/event",
        hec,
        {"host": "web-1"},
        lambda m, key: b"".join(map(dumped, m)),
        lambda key: {"authorization": f"Splunk {key}"},
    ),
    Family("elasticsearch", "/_bulk", bulk, 7, bulk_lines, method="PUT"),
    Family(
        "firehose",
        "/firehose",
        firehose,
        {"data": "?"},
        lambda m, key: dumped({"requestId": f"request-{dumped(m)[:200]!r}", "timestamp": 1, "records": m}),
        lambda key: {"x-amz-firehose-access-key": key},
    ),
    Family("vercel", "/v1/logs", vercel, 7, lambda m, key: dumped(m), as_json),
    Family("pino", "/v1/logs", pino, 7, lambda m, key: dumped({"logs": m}), as_json),
)
