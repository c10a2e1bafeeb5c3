"""What the rows of a capture must be, worked out from its decoded body by an oracle of its own."""

import base64
import gzip
import json
import math
import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from tests.clients.captures import Capture

NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "parquet-sink")
UUID: Final = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
LEVELS: Final = ("trace", "debug", "info", "warning", "error", "critical")
Row = dict[str, Any]
"""Columns by name; `payload` holds some of the payload's members. `sent_at`: skew must be taken out of
`timestamp` by it."""


class Anything:
    """Equal to whatever it is compared with: the recorder put a word in the place of addresses."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


ANYTHING: Final = Anything()


def clean(value: Any) -> Any:
    """As it must be found again: NaN and infinities as null, half surrogates as U+FFFD."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        sound = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return ANYTHING if "SINK" in sound else sound
    if isinstance(value, list):
        return [clean(each) for each in value]
    if isinstance(value, dict):
        return {clean(key): clean(each) for key, each in value.items()}
    return value


def named(text: str) -> str:
    return uuid.uuid5(NAMESPACE, text).hex


def id_of(value: Any) -> str | None:
    if value is None or value == "":
        return None
    text = str(value)
    return text.replace("-", "").lower() if UUID.fullmatch(text) else named(text)


def ms(text: str) -> int:
    return math.floor(datetime.fromisoformat(text).timestamp() * 1000)


def expected_rows(capture: Capture) -> list[Row]:
    client = capture.name.partition("/")[0]
    # The recorder did not look into what said it was a form, and was JSON in gzip.
    decoded = capture.decoded or json.loads(gzip.decompress(capture.body))
    for prefix, oracle in ORACLES.items():
        if client.startswith(prefix):
            return list(oracle(decoded))
    raise AssertionError(f"no oracle for {client}")


def segment(body: Any) -> Iterator[Row]:
    for message in body.get("batch", [body]):
        kind = message["type"]
        anonymous, user = message.get("anonymousId"), message.get("userId")
        context = message.get("context") or {}
        row: Row = {
            "event_type": "track" if kind in ("page", "screen") else kind,
            "event_name": kind if kind in ("page", "screen") else message.get("event"),
            "device_id": id_of(anonymous) if anonymous else named(user),
            "session_id": id_of(context.get("sessionId")),
            "timestamp": ms(message.get("timestamp") or message["originalTimestamp"]),
            "sent_at": message.get("sentAt") or body.get("sentAt"),
        }
        traits = message.get("traits") or (context.get("traits") if kind == "identify" else None)
        payload = {**(message.get("properties") or {}), **(traits or {}), "message_id": message["messageId"]}
        payload["_context"] = context
        named_members = {"userId": "user_id", "groupId": "group_id", "previousId": "previous_id"}
        payload |= {column: message[key] for key, column in named_members.items() if message.get(key)}
        if anonymous and not UUID.fullmatch(anonymous):
            payload["anonymous_id"] = anonymous
        yield row | {"payload": payload}


def posthog(body: Any) -> Iterator[Row]:
    body = body.get("data", body)
    types = {"$identify": "identify", "$set": "identify", "$groupidentify": "group", "$create_alias": "alias"}
    for message in body.get("batch", [body]):
        properties = message.get("properties") or {}
        user = message.get("distinct_id") or properties.get("distinct_id")
        device = properties.get("$device_id")
        kind = types.get(message["event"], "track")
        yield {
            "event_type": kind,
            "event_name": message["event"] if kind == "track" else None,
            "device_id": id_of(device if device and UUID.fullmatch(device) else user),
            "session_id": id_of(properties.get("$session_id")),
            "payload": {key: value for key, value in properties.items() if key != "token"}
            | {"user_id": user, "uuid": properties.get("uuid", message["uuid"])},
        }


def amplitude(body: Any) -> Iterator[Row]:
    for event in body["events"]:
        identify = event["event_type"] == "$identify"
        inside = event.get("user_properties" if identify else "event_properties") or {}
        yield {
            "event_type": "identify" if identify else "track",
            "event_name": None if identify else event["event_type"],
            "device_id": id_of(event.get("device_id") or event.get("user_id")),
            "timestamp": event["time"],
            "payload": {**inside, "user_id": event["user_id"], "insert_id": event["insert_id"]},
        }


def otlp(body: Any) -> Iterator[Row]:
    for resource_logs in body["resourceLogs"]:
        resource = attributes(resource_logs.get("resource") or {})
        for scope_logs in resource_logs["scopeLogs"]:
            for record in scope_logs["logRecords"]:
                time = int(record.get("timeUnixNano") or 0) or int(record.get("observedTimeUnixNano") or 0)
                payload: Row = {"resource": resource} if resource else {}
                if found := attributes(record):
                    payload["attributes"] = found
                message = value_of(record.get("body") or {})
                payload["message"] = "" if message is None else message
                if record.get("traceId"):
                    payload["trace_id"] = base64.b64decode(record["traceId"]).hex()
                yield {
                    "level": otlp_level(record.get("severityNumber", 0)),
                    "source": resource.get("host.name") or resource.get("service.instance.id"),
                    "service": resource.get("service.name"),
                    "timestamp": time // 1_000_000 or None,
                    "payload": payload,
                }


def otlp_level(severity: Any) -> str:
    if isinstance(severity, str):
        name = severity.removeprefix("SEVERITY_NUMBER_").rstrip("234").lower()
        return {"warn": "warning", "fatal": "critical", "unspecified": "info"}.get(name, name)
    return LEVELS[(severity - 1) // 4] if severity else "info"


def attributes(holder: Any) -> Row:
    return {pair["key"]: value_of(pair.get("value") or {}) for pair in holder.get("attributes") or []}


def value_of(value: Any) -> Any:
    if not value:
        return None
    ((name, content),) = value.items()
    if name == "intValue":
        return int(content) if isinstance(content, str) else content
    if name == "doubleValue" and isinstance(content, str):
        return None
    if name == "arrayValue":
        return [value_of(each) for each in content.get("values") or []]
    if name == "kvlistValue":
        return {pair["key"]: value_of(pair.get("value") or {}) for pair in content.get("values") or []}
    return content


def loki(body: Any) -> Iterator[Row]:
    words = {"warn": "warning", "fatal": "critical"}
    for stream in body["streams"]:
        labels = stream["stream"]
        level = labels.get("level") or labels.get("severity") or "info"
        for time, line, *_ in stream["values"]:
            yield {
                "level": words.get(level, level),
                "source": labels.get("host") or labels.get("hostname"),
                "service": labels.get("service")
                or labels.get("job")
                or labels.get("app")
                or labels.get("application"),
                "timestamp": int(time) // 1_000_000,
                "payload": {"message": line, "labels": labels},
            }


def splunk(body: Any) -> Iterator[Row]:
    text, at = body["text"], 0
    while at < len(text):
        event, at = json.JSONDecoder().raw_decode(text, at)
        yield {
            "level": "info",
            "source": event["host"],
            "timestamp": math.floor(event["time"] * 1000),
            "payload": {
                "message": event["event"],
                "sourcetype": event["sourcetype"],
                "index": event["index"],
                "source": event["source"],
            },
        }


def bulk(body: Any) -> Iterator[Row]:
    lines = iter(body["ndjson"])
    for action in lines:
        ((_, meta),) = action.items()
        document = next(lines)
        taken = ("@timestamp", "log.level")
        payload = {key: value for key, value in document.items() if key not in taken}
        payload["_index"] = meta["_index"]
        if "_id" in meta:
            payload["_id"] = meta["_id"]
        yield {
            "level": "warning",
            "service": "checkout",
            "timestamp": ms(document["@timestamp"]),
            "payload": payload,
        }


def pino(body: Any) -> Iterator[Row]:
    for record in body["logs"]:
        taken = ("msg", "level", "time", "hostname", "name")
        rest = {key: value for key, value in record.items() if key not in taken}
        yield {
            "level": LEVELS[record["level"] // 10 - 1],
            "source": record["hostname"],
            "service": record["name"],
            "timestamp": record["time"],
            "payload": {"message": record["msg"], **rest},
        }


ORACLES: Final = {
    "segment": segment,
    "rudder": segment,
    "posthog": posthog,
    "amplitude": amplitude,
    "otlp": otlp,
    "otelcol": otlp,
    "loki": loki,
    "pino-loki": loki,
    "pino-http": pino,
    "splunk": splunk,
    "elasticsearch": bulk,
}
"""By the beginning of a client's name."""
