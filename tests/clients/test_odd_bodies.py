"""Bodies as odd clients write them: what is meant is stored, and what is not is said."""

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.clients.bodies import FAMILIES, TIME, TIME_MS, Family, basic, otlp, segment
from tests.support.service import KEYS, Service

BACKENDS = ["directory", "workers"]
NS: Final = str(TIME_MS * 1_000_000)
JSON_FAMILIES: Final = [family for family in FAMILIES if family.name != "otlp-protobuf"]

WRITTEN: Final[dict[str, Callable[[bytes], bytes]]] = {
    "a byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "two byte order marks": lambda body: b"\xef\xbb\xbf\xef\xbb\xbf" + body,
    "UTF-16": lambda body: body.decode().encode("utf-16"),
    "UTF-16 without a mark": lambda body: body.decode().encode("utf-16-le"),
    "UTF-16, big end first": lambda body: body.decode().encode("utf-16-be"),
    "UTF-32": lambda body: body.decode().encode("utf-32"),
    "UTF-32, big end first": lambda body: body.decode().encode("utf-32-be"),
    "blanks before": lambda body: b" \r\n\t" + body,
    "blank lines behind": lambda body: body + b"\r\n\r\n",
    "zeros behind": lambda body: body + b"\0\0",
    "gzip in gzip": lambda body: gzip.compress(gzip.compress(body)),
}
ENCODINGS: Final = {"utf-8": lambda body: body, "UTF8, gzip": gzip.compress, "binary": lambda body: body}


def post(service: Service, family: Family, body: bytes, key: str, **headers: str) -> int:
    head = {"content-type": "application/json", **family.head(key), **headers}
    response = service.http.request(family.method, family.path, headers=head, content=body)
    assert response.status_code < 300, response.text
    return response.status_code


def payloads(service: Service, kind: str, workspace: int) -> list[dict[str, Any]]:
    service.flush(workspace)
    rows = service.table(kind, workspace).to_pylist()
    return [{**row, **json.loads(row["payload"])} for row in rows]


@pytest.mark.parametrize("family", JSON_FAMILIES, ids=lambda family: family.name)
def test_however_a_body_is_encoded_its_messages_are_stored(
    service: Service, workspace: int, family: Family
) -> None:
    key = KEYS[workspace]
    for name, write in WRITTEN.items():
        messages = [family.message(f"é {name} {number}") for number in (1, 2)]  # type: ignore[arg-type]
        packed = {"content-encoding": "gzip"} if "gzip" in name else {}
        post(service, family, write(family.wrap(messages, key)), key, **packed)
    for encoding, write in ENCODINGS.items():
        messages = [family.message(f"{encoding} {number}") for number in (1, 2)]  # type: ignore[arg-type]
        post(service, family, write(family.wrap(messages, key)), key, **{"content-encoding": encoding})
    found = payloads(service, family.kind, workspace)
    assert len(found) == 2 * (len(WRITTEN) + len(ENCODINGS))
    assert sum("é" in str(row) for row in found) == 2 * len(WRITTEN)


@pytest.mark.parametrize("call", ["events", "logs"])
@pytest.mark.parametrize("lane", ["fast", "route"])
def test_native_bodies_in_other_encodings(service: Service, workspace: int, call: str, lane: str) -> None:
    headers = {"TE": "trailers"} if lane == "route" else {}
    row = {"type": "track", "event": "é"} if call == "events" else {"message": "é"}
    for name, write in WRITTEN.items():
        packed = {"content-encoding": "gzip"} if "gzip" in name else {}
        for body in (json.dumps([row, {**row, "a": 1}]), "\n".join([json.dumps(row), "", json.dumps(row)])):
            response = service.post(call, write(body.encode()), workspace=workspace, headers=headers | packed)
            assert (response.status_code, response.json().get("accepted")) == (202, 2), (name, response.text)
    assert len(payloads(service, call, workspace)) == 4 * len(WRITTEN)
    for encoding in ("utf-16", "utf-16-be", "utf-32"):
        body = (json.dumps(row) + "\n{}\n" + json.dumps(row)).encode(encoding)
        response = service.post(call, body, workspace=workspace, headers=headers)
        assert (response.status_code, response.json()["errors"][0]["line"]) == (207, 2), response.text


def event(number: int, **members: Any) -> dict[str, Any]:
    return {**segment(number), **members}


def lines(*values: Any, between: str = "\n") -> str:
    return between.join(json.dumps(value) for value in values)


def scoped(*records: Any, **resource: Any) -> dict[str, Any]:
    return {"resourceLogs": [{**resource, "scopeLogs": [{"logRecords": list(records)}]}]}


def pushed(*entries: Any, **members: Any) -> dict[str, Any]:
    return {"streams": [{"stream": {"app": "a"}, "values": list(entries), **members}]}


def records(*contents: bytes | str) -> str:
    data = [base64.b64encode(each.encode() if isinstance(each, str) else each).decode() for each in contents]
    return json.dumps({"requestId": "KEY", "records": [{"data": each} for each in data]})


# By name: path, body, kind, and what the rows must have, each in one row.
MEANT: Final[dict[str, tuple[str, str, str, list[dict[str, Any]]]]] = {
    "segment, messages on lines": (
        "/v1/batch",
        lines(event(1), event(2), between="\r\n\r\n"),
        "events",
        [{"number": "1"}, {"number": "2"}],
    ),
    "segment, bodies on end": (
        "/v1/batch",
        lines({"batch": [event(1)]}, {"batch": [event(2)]}, between=""),
        "events",
        [{"number": "1"}, {"number": "2"}],
    ),
    "segment, a body and junk": (
        "/v1/batch",
        lines({"batch": [event(1)]}) + ", junk",
        "events",
        [{"number": "1"}],
    ),
    "segment, arrays on lines": (
        "/v1/batch",
        lines([event(1)], [event(2)]),
        "events",
        [{"number": "1"}, {"number": "2"}],
    ),
    "segment, encoded twice": (
        "/v1/batch",
        lines({"batch": json.dumps([json.dumps(event(1)), event(2)])}),
        "events",
        [{"number": "1"}, {"number": "2"}],
    ),
    "segment, a text": ("/v1/batch", lines(lines({"batch": [event(1)]})), "events", [{"number": "1"}]),
    "segment, a batch's context": (
        "/v1/batch",
        lines({"context": {"app": "a"}, "batch": [event(1), event(2, context={"app": "b"})]}),
        "events",
        [{"_context": {"app": "a"}}, {"_context": {"app": "b"}}],
    ),
    "segment, names that are no texts": (
        "/v1/batch",
        lines({"batch": [event(1, event=404), event(2, event=True, type=" Track")]}),
        "events",
        [{"event_name": "404"}, {"event_name": "true"}],
    ),
    "segment, no type": (
        "/v1/batch",
        lines({"batch": [event(1, type=None)]}),
        "events",
        [{"event_type": "track"}],
    ),
    "segment, odd values": (
        "/v1/batch",
        lines({"batch": [event(1, timestamp="yesterday", anonymousId=["a"])]}),
        "events",
        [{"_timestamp": "yesterday", "anonymous_id": ["a"]}],
    ),
    "posthog, odd values": (
        "/batch/",
        lines(
            {
                "api_key": "KEY",
                "batch": [
                    {"event": 5, "distinct_id": "u", "timestamp": "soon"},
                    {"event": "f", "properties": [1]},
                ],
            }
        ),
        "events",
        [{"event_name": "5", "timestamp": "soon"}, {"event_name": "f", "properties": [1]}],
    ),
    "posthog, base64 for URLs": (
        "/capture/",
        base64.urlsafe_b64encode(
            lines(
                {"api_key": "KEY", "event": "e", "distinct_id": "u", "properties": {"a": "??>>~~"}}
            ).encode()
        ).decode(),
        "events",
        [{"user_id": "u"}],
    ),
    "amplitude, an event alone": (
        "/2/httpapi",
        lines({"api_key": "KEY", "event_type": "e", "user_id": "u", "device_id": [1], "time": "x"}),
        "events",
        [{"user_id": "u", "device_id": [1], "time": "x"}],
    ),
    "mixpanel, odd values": (
        "/import",
        lines([{"event": "e", "properties": {"time": "x"}}, {"event": "f", "properties": "text"}]),
        "events",
        [{"time": "x"}, {"properties": "text"}],
    ),
    "otlp, requests on lines": (
        "/v1/logs",
        lines(scoped(otlp(1)), scoped(otlp(2))),
        "logs",
        [{"message": "line 1"}, {"message": "line 2"}],
    ),
    "otlp, requests in an array": (
        "/v1/logs",
        lines([scoped(otlp(1)), scoped(otlp(2))]),
        "logs",
        [{"message": "line 1"}, {"message": "line 2"}],
    ),
    "otlp, before 1.0": (
        "/v1/logs",
        lines(
            {
                "resourceLogs": [
                    {
                        "instrumentationLibraryLogs": [
                            {"instrumentationLibrary": {"name": "l"}, "logRecords": [otlp(1)]}
                        ]
                    }
                ]
            }
        ),
        "logs",
        [{"message": "line 1", "scope": {"name": "l"}}],
    ),
    "otlp, other units": (
        "/v1/logs",
        lines(
            scoped(
                {**otlp(1), "timeUnixNano": TIME_MS},
                {**otlp(2), "timeUnixNano": TIME_MS // 1000},
                {**otlp(3), "timeUnixNano": TIME},
            )
        ),
        "logs",
        [
            {"message": "line 1", "timestamp": TIME_MS},
            {"message": "line 2", "timestamp": TIME_MS // 1000 * 1000},
            {"message": "line 3", "timestamp": TIME_MS},
        ],
    ),
    "otlp, plain objects": (
        "/v1/logs",
        lines(
            scoped(
                {
                    "body": {"a": 1},
                    "attributes": {"b": 2, "c": {"stringValue": "d"}},
                    "severityNumber": "error",
                },
                resource={"service.name": "s"},
            )
        ),
        "logs",
        [{"message": {"a": 1}, "attributes": {"b": 2, "c": "d"}, "level": "error", "service": "s"}],
    ),
    "otlp, an element that is none": (
        "/v1/logs",
        lines({"resourceLogs": [5, *scoped(otlp(1))["resourceLogs"]]}),
        "logs",
        [{"message": "line 1"}],
    ),
    "loki, pushes on lines": (
        "/loki/api/v1/push",
        lines(pushed([NS, "1"]), pushed([NS, "2"])),
        "logs",
        [{"message": "1"}, {"message": "2"}],
    ),
    "loki, one stream": (
        "/loki/api/v1/push",
        lines(pushed([NS, "1"])["streams"][0]),
        "logs",
        [{"message": "1", "labels": {"app": "a"}}],
    ),
    "loki, an array of streams": (
        "/loki/api/v1/push",
        lines(pushed([NS, "1"])["streams"]),
        "logs",
        [{"message": "1"}],
    ),
    "loki, other units": (
        "/loki/api/v1/push",
        lines(pushed([TIME_MS, "1"], [TIME, "2"], [str(TIME_MS / 1000), "3"])),
        "logs",
        [
            {"message": "1", "timestamp": TIME_MS},
            {"message": "2", "timestamp": TIME_MS},
            {"message": "3", "timestamp": TIME_MS},
        ],
    ),
    "loki, the old form": (
        "/api/prom/push",
        lines({"streams": [{"labels": '{app="b"}', "entries": [{"ts": TIME, "line": "1"}]}]}),
        "logs",
        [{"message": "1", "labels": {"app": "b"}, "timestamp": TIME_MS}],
    ),
    "loki, metadata that is no object": (
        "/loki/api/v1/push",
        lines(pushed([NS, "1", ["a"]])),
        "logs",
        [{"message": "1", "structured_metadata": ["a"]}],
    ),
    "splunk, odd values": (
        "/services/collector",
        lines({"event": "1", "time": "x", "host": {"a": 1}}),
        "logs",
        [{"message": "1", "time": "x", "host": {"a": 1}}],
    ),
    "splunk, raw lines": (
        "/services/collector/raw",
        "a\x0cb\u2028c\r\nd\0e\n",
        "logs",
        [{"message": "a\x0cb\u2028c"}, {"message": "d\0e"}],
    ),
    "firehose, lines of text": (
        "/firehose",
        records("[2026-01-01] a\n[2026-01-01] b", "{main} failed"),
        "logs",
        [{"message": "[2026-01-01] a"}, {"message": "[2026-01-01] b"}, {"message": "{main} failed"}],
    ),
    "firehose, packed twice": (
        "/firehose",
        records(gzip.compress(gzip.compress(b'{"message":"a"}')), '{"message":"b"}'.encode("utf-16")),
        "logs",
        [{"message": "a"}, {"message": "b"}],
    ),
}


@pytest.mark.parametrize("name", MEANT)
def test_what_is_meant_is_stored(service: Service, workspace: int, name: str) -> None:
    path, body, kind, expected = MEANT[name]
    key = KEYS[workspace]
    headers = {"content-type": "application/json", "authorization": basic(key)}
    response = service.http.post(path, content=body.replace("KEY", key).encode(), headers=headers)
    assert response.status_code < 300, response.text
    found = payloads(service, kind, workspace)
    assert len(found) == len(expected), found
    for each in expected:
        assert any(each.items() <= row.items() for row in found), (each, found)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/track", ""),
        ("/track", "a=1&b=2"),
        ("/capture/", "data=e30%3D&data=e30%3D"),
        ("/import", "--b\r\n\r\n"),
    ],
)
def test_a_form_without_its_field_is_refused(service: Service, path: str, body: str) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded", "authorization": basic(KEYS[1])}
    response = service.http.post(path, content=body, headers=headers)
    assert response.status_code == 400, response.text
    assert "data" in response.text
