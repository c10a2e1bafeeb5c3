"""OpenTelemetry logs as protocol buffers."""

import base64
from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from app.clients.call import Document
from app.clients.otlp_records import RecordWriter, origin
from app.errors import MalformedBatch

_Field: Final = descriptor_pb2.FieldDescriptorProto


def read(body: bytes) -> Document:
    """Raises MalformedBatch."""
    document = Document()
    writer = RecordWriter(document)
    for resource_logs in _parsed(body).resource_logs:
        resource = _attributes(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            where = origin(resource, _scope(scope_logs.scope))
            for record in scope_logs.log_records:
                writer.add(
                    where,
                    record.time_unix_nano or record.observed_time_unix_nano,
                    record.severity_number,
                    _value(record.body),
                    _attributes(record.attributes),
                    _others(record),
                )
    return document


def response(rejected: int, message: str) -> bytes:
    """An ExportLogsServiceResponse; empty where nothing was refused."""
    answer = ExportLogsServiceResponse()
    if rejected:
        answer.partial_success.rejected_log_records = rejected
        answer.partial_success.error_message = message
    content: bytes = answer.SerializeToString()
    return content


def status(code: int, message: str) -> bytes:
    """A google.rpc.Status: 1 is the code, 2 the message."""
    text = message.encode()
    return b"\x08" + _varint(code) + b"\x12" + _varint(len(text)) + text


def _varint(number: int) -> bytes:
    pieces = bytearray()
    while number > 0x7F:
        pieces.append(number & 0x7F | 0x80)
        number >>= 7
    pieces.append(number)
    return bytes(pieces)


def _parsed(body: bytes) -> Any:
    request = ExportLogsServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError:
        pass
    else:
        return request
    # Strings that are no UTF-8 cost the whole request; where strings may be any bytes they do not.
    request = _request_of_bytes()()
    try:
        request.ParseFromString(body)
    except DecodeError:
        raise MalformedBatch("the body is no ExportLogsServiceRequest") from None
    return request


@cache
def _request_of_bytes() -> type:
    """ExportLogsServiceRequest with bytes in the place of strings."""
    pool = descriptor_pool.DescriptorPool()
    copied: set[str] = set()

    def copy(file: Any) -> None:
        if file.name in copied:
            return
        copied.add(file.name)
        for dependency in file.dependencies:
            copy(dependency)
        described = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(described)
        _loosen(described.message_type)
        pool.Add(described)

    copy(ExportLogsServiceRequest.DESCRIPTOR.file)
    described = pool.FindMessageTypeByName(ExportLogsServiceRequest.DESCRIPTOR.full_name)
    made: type = message_factory.GetMessageClass(described)
    return made


def _loosen(messages: Any) -> None:
    for message in messages:
        for field in message.field:
            if field.type == _Field.TYPE_STRING:
                field.type = _Field.TYPE_BYTES
        _loosen(message.nested_type)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _attributes(pairs: Any) -> dict[str, Any]:
    return {_text(pair.key): _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which == "string_value":
        return _text(value.string_value)
    if which is None:
        return None
    if which == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    if which == "array_value":
        return [_value(each) for each in value.array_value.values]
    if which == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, which)


def _scope(scope: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if scope.name:
        found["name"] = _text(scope.name)
    if scope.version:
        found["version"] = _text(scope.version)
    if scope.attributes:
        found["attributes"] = _attributes(scope.attributes)
    return found


def _others(record: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if record.trace_id:
        found["trace_id"] = record.trace_id.hex()
    if record.span_id:
        found["span_id"] = record.span_id.hex()
    if record.severity_text:
        found["severity_text"] = _text(record.severity_text)
    if record.event_name:
        found["event_name"] = _text(record.event_name)
    if record.flags:
        found["flags"] = record.flags
    return found
