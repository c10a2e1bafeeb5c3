"""A key that occurs twice in a body of another client's protocol: no row and no value is lost."""

import base64
import json
from typing import Any, Final

import pytest

from app.clients.call import Document
from app.clients.lenient_json import read_elements, read_object
from tests.clients.bodies import basic
from tests.support.service import KEYS, Service

BACKENDS = ["directory", "workers"]
NS: Final = "1772600767890000000"
BEARER: Final = {"authorization": "Bearer {key}", "content-type": "application/json"}
BASIC: Final = {"authorization": "{basic}"}


def repeated(**earlier: Any) -> dict[str, Any]:
    return {"_shadowed": {"repeated": earlier}}


RECORDS: Final = (
    '{"message":"1"}',
    '{"message":"2","a":1,"a":2}',
    '{"messageType":"DATA_MESSAGE","logGroup":"g","logStream":"s",'
    '"logEvents":[{"message":"3"}],"logEvents":[{"message":"4"}]}',
)

# By name: path, headers, body (KEY is the workspace's), kind, and per row what must stand in its payload.
CASES: Final[dict[str, tuple[str, dict[str, str], str, str, list[dict[str, Any]]]]] = {
    "segment, objects": (
        "/v1/batch",
        BASIC,
        '{"batch":[{"type":"track","event":"e","userId":"u","properties":{"a":1},"properties":{"b":2},'
        '"context":{"c":1},"context":{"d":2}}]}',
        "events",
        [
            {
                "b": 2,
                "_context": {"d": 2},
                "_shadowed": {"repeated": {"properties": {"a": 1}, "context": {"c": 1}}},
            }
        ],
    ),
    "segment, traits and texts": (
        "/v1/batch",
        BASIC,
        '{ "batch": [ { "type": "identify", "userId": "u", "userId": "v", "traits": {"a": 1}, '
        '"traits": {"a": 2} }, {"type": "track", "event": "e", "userId": "w", "properties": {"n": 3}} ] }',
        "events",
        [
            {"user_id": "v", "a": 2, "_shadowed": {"repeated": {"userId": "u", "traits": {"a": 1}}}},
            {"user_id": "w", "n": 3},
        ],
    ),
    "segment, two batches": (
        "/v1/batch",
        BASIC,
        '{"batch":[{"type":"track","event":"e","userId":"1"},{"type":"track","event":"e","userId":"2"}],'
        '"sentAt":null,"batch":[{"type":"track","event":"e","userId":"3"}]}',
        "events",
        [{"user_id": "1"}, {"user_id": "2"}, {"user_id": "3"}],
    ),
    "segment, beside a fault": (
        "/v1/batch",
        BASIC,
        '{"batch":[{"type":"track","event":"e","userId":"1","n":NaN,"n":1}],'
        '"batch":[{"type":"track","event":"e","userId":"2","x":undefined},'
        '{"type":"track","event":"\\ud83d","userId":"3"},]}',
        "events",
        [{"user_id": "1", "n": 1, **repeated(n=None)}, {"user_id": "3"}],
    ),
    "segment, a message alone": (
        "/v1/track",
        BASIC,
        '{"event":"first","event":"last","userId":"u","properties":{"a":1},"properties":{"a":1}}',
        "events",
        [{"user_id": "u", "a": 1, "_shadowed": {"repeated": {"event": "first", "properties": {"a": 1}}}}],
    ),
    "segment, its own _shadowed": (
        "/v1/track",
        BASIC,
        '{"event":"e","userId":"u","a":1,"a":2,"a":3,"_shadowed":0}',
        "events",
        [{"user_id": "u", "a": 3, "_shadowed": 0, "__shadowed": {"repeated": {"a": [1, 2]}}}],
    ),
    "posthog": (
        "/batch/",
        {},
        '{"api_key":"KEY","batch":[{"event":"e","distinct_id":"1","properties":{"a":1},"properties":{"b":2}}],'
        '"batch":[{"event":"e","distinct_id":"2","properties":{"a": 1, "a": 2}}]}',
        "events",
        [
            {"user_id": "1", "b": 2, "_shadowed": {"repeated": {"properties": {"a": 1}}}},
            {"user_id": "2", "a": 2, **repeated(a=1)},
        ],
    ),
    "amplitude": (
        "/2/httpapi",
        {},
        '{"api_key":"KEY","events":[{"event_type":"e","user_id":"1","event_properties":{"a":1},'
        '"event_properties":{"b":2}}],"events":[{"event_type":"e","user_id":"2","event_properties":{"a":1,"a":2}}]}',
        "events",
        [
            {"user_id": "1", "b": 2, "_shadowed": {"repeated": {"event_properties": {"a": 1}}}},
            {"user_id": "2", "a": 2, **repeated(a=1)},
        ],
    ),
    "mixpanel": (
        "/import",
        BASIC,
        '[{"event":"e","event":"f","properties":{"distinct_id":"1","a":1}},'
        '{"event":"e","properties":{"distinct_id":"2","a":1,"a":2},"properties":{"distinct_id":"3","b":3,"b":4}}]',
        "events",
        [
            {"user_id": "1", "a": 1, **repeated(event="e")},
            {
                "user_id": "3",
                "b": 4,
                "_shadowed": {"repeated": {"b": 3}},
                "__shadowed": {
                    "other": {"_shadowed": {"repeated": {"properties": {"distinct_id": "2", "a": 2}}}}
                },
            },
        ],
    ),
    "otlp, lists": (
        "/v1/logs",
        BEARER,
        '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"1"}}],'
        '"logRecords":[{"body":{"stringValue":"2"}}]}],"scopeLogs":[{"logRecords":[{"body":{"stringValue":"3"}}]}]}],'
        '"resourceLogs":[{"scope_logs":[{"log_records":[{"body":{"string_value":"4"}}]}]}]}',
        "logs",
        [{"message": "1"}, {"message": "2"}, {"message": "3"}, {"message": "4"}],
    ),
    "otlp, values": (
        "/v1/logs",
        BEARER,
        '{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},'
        '"resource":{"attributes":[{"key":"r","value":{"intValue":1}}]},"scopeLogs":[{"logRecords":['
        '{"severityText":"A","severityText":"B","body":{"stringValue":"x"},"body":{"stringValue":"y"},'
        '"attributes":[{"key":"a","value":{"intValue":1}}],"attributes":[{"key":"a","value":{"intValue":2}}]}]}]}]}',
        "logs",
        [
            {
                "message": "y",
                "severity_text": "B",
                "resource": {"service.name": "s", "r": 1},
                "attributes": {"a": 2, **repeated(a=1)},
                "_shadowed": {"repeated": {"severityText": "A", "body.stringValue": "x"}},
            }
        ],
    ),
    "loki": (
        "/loki/api/v1/push",
        BEARER,
        '{"streams":[{"stream":{"app":"a","app":"b"},"values":[["NS","1"]],"values":[["NS","2",{"k":"1","k":"2"}]]}],'
        '"streams":[{"stream":{"x":"1"},"stream":{"y":"2"},"values":[["NS","3"]]}]}',
        "logs",
        [
            {"message": "1", "labels": {"app": "b", **repeated(app="a")}},
            {"message": "2", "k": "2", **repeated(k="1")},
            {"message": "3", "labels": {"x": "1", "y": "2"}},
        ],
    ),
    "splunk": (
        "/services/collector",
        {"authorization": "Splunk {key}"},
        '{"event":"first","event":"last","fields":{"a":1},"fields":{"b":2}}'
        '{"event":{"message":"m","a":1,"a":2},"host":"h","host":"i"}',
        "logs",
        [
            {
                "message": "last",
                "fields": {"b": 2},
                "_shadowed": {"repeated": {"event": "first", "fields": {"a": 1}}},
            },
            {"message": "m", "a": 2},
        ],
    ),
    "elasticsearch": (
        "/_bulk",
        BASIC,
        '{"index":{"_index":"i"}}\n{"message":"first","message":"last","a":{"b":1},"a":{"c":2}}\n',
        "logs",
        [{"message": "last", "a": {"c": 2}, "_shadowed": {"repeated": {"message": "first", "a": {"b": 1}}}}],
    ),
    "firehose": (
        "/firehose",
        {"x-amz-firehose-access-key": "{key}"},
        '{"requestId":"KEY","timestamp":1,"records":[{"data":"RECORD0","data":"RECORD1"}],'
        '"records":[{"data":"RECORD2"}]}',
        "logs",
        [{"message": "1"}, {"message": "2", "a": 2, **repeated(a=1)}, {"message": "3"}, {"message": "4"}],
    ),
    "pino": (
        "/v1/logs",
        BEARER,
        '{"logs":[{"msg":"1","msg":"2"}],"logs":[{"msg":"3"}]}',
        "logs",
        [{"message": "2", **repeated(msg="1")}, {"message": "3"}],
    ),
    "vercel": (
        "/v1/logs",
        BEARER,
        '[{"id":"KEY","projectId":"p","message":"1","message":"2"},{"id":"KEY2","projectId":"p","message":"3"}]',
        "logs",
        [{"message": "2", **repeated(message="1")}, {"message": "3"}],
    ),
}


def within(expected: Any, found: Any) -> bool:
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(
            key in found and within(value, found[key]) for key, value in expected.items()
        )
    return bool(expected == found)


@pytest.mark.parametrize("name", CASES)
def test_both_values_are_found_again(service: Service, workspace: int, name: str) -> None:
    path, headers, body, kind, expected = CASES[name]
    key = KEYS[workspace]
    headers = {k: v.format(key=key, basic=basic(key)) for k, v in headers.items()}
    body = body.replace("KEY", key).replace("NS", NS)
    for number, record in enumerate(RECORDS):
        body = body.replace(f"RECORD{number}", base64.b64encode(record.encode()).decode())
    response = service.http.post(path, content=body, headers=headers)
    assert response.status_code < 300, response.text
    service.flush(workspace)
    payloads = [json.loads(row["payload"]) for row in service.table(kind, workspace).to_pylist()]
    assert len(payloads) == len(expected), payloads
    for each in expected:
        assert any(within(each, payload) for payload in payloads), (each, payloads)


@pytest.mark.parametrize("count", [2, 20_000])
@pytest.mark.parametrize("value", ["1", "[1]", '{"a":1}', '"a"'])
def test_however_often_a_key_occurs_a_body_is_read_in_one_run(
    service: Service, count: int, value: str
) -> None:
    for path, before, after in (
        ("/v1/track", '{"event":"e","userId":"u"', "}"),
        ("/v1/logs", '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":1', "}]}]}]}"),
        ("/loki/api/v1/push", '{"streams":[{"stream":{"a":"b"', '},"values":[["NS","x"]]}]}'),
    ):
        body = (before + f',"x":{value}' * count + after).replace("NS", NS)
        headers = {"authorization": basic(KEYS[1]), "content-type": "application/json"}
        response = service.http.post(path, content=body, headers=headers)
        assert response.status_code < 300, (path, response.text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a" : 1, "a" : 2}',
        '{"a": 1,"a":2}',
        '{"\\u0061":1,"a":2}',
        '{"a":"\\u003a","a":"\\":"}',
        '{"a":"::","b":1,"b":"\\u003A","c":"\\u003A\\u003a"}',
        '{"":1,"":2}',
        '{"a":{"b":1},\n\t"a"\n:\n{"b":2}}',
        '{"é":1,"é":2}',
    ],
)
def test_a_repeated_key_is_noticed_however_it_is_written(text: str) -> None:
    alone = read_object(text.encode())
    assert "_shadowed" in alone
    for array in (f"[{text}]", f"[{text}, {{}}]", f"[{{}},{text}]"):
        messages = [members for _, members in read_elements(array.encode(), Document())]
        assert alone in messages
        assert "_shadowed" in messages[0] or "_shadowed" in messages[1]
