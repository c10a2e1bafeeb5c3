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
from app.clients.otlp_records import RecordWriter, Tags, origin
from app.clients.repeated_keys import merged_pairs
from app.errors import MalformedBatch

_Field: Final = descriptor_pb2.FieldDescriptorProto


def read(body: bytes) -> Document:
    """Raises MalformedBatch."""
    document = Document()
    writer = RecordWriter(document)
    request, is_of_bytes = _parsed(body)
    for resource_logs in request.resource_logs:
        resource = _attributes(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            scope = _scope(scope_logs.scope)
            where = origin(*_texts([resource, scope])) if is_of_bytes else origin(resource, scope)
            for record in scope_logs.log_records:
                texts = _value(record.body), _attributes(record.attributes), _tags(record)
                if is_of_bytes:
                    texts = tuple(_texts(each) for each in texts)
                time_ns = record.time_unix_nano or record.observed_time_unix_nano
                writer.add(where, time_ns, record.severity_number, *texts)
    return document


def response(rejected: int, message: str) -> bytes:
    """An ExportLogsServiceResponse; empty if nothing was refused."""
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


def _parsed(body: bytes) -> tuple[Any, bool]:
    """The request, and whether its strings were read as bytes."""
    request = ExportLogsServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError:
        pass
    else:
        return request, False
    # Strings that are no UTF-8 cost the whole request; where strings may be any bytes they do not.
    request = _request_of_bytes()()
    try:
        request.ParseFromString(body)
    except DecodeError:
        raise MalformedBatch("the body is not an ExportLogsServiceRequest") from None
    return request, True


@cache
def _request_of_bytes() -> type:
    """ExportLogsServiceRequest with bytes instead of strings."""
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


def _texts(value: Any) -> Any:
    """A value in which strings were read as bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_texts(key): _texts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_texts(each) for each in value]
    if isinstance(value, Tags):
        return Tags(*map(_texts, value))
    return value


def _attributes(pairs: Any) -> dict[str, Any]:
    found = {}
    for pair in pairs:
        value = pair.value
        which = value.WhichOneof("value")
        if which == "string_value":
            found[pair.key] = value.string_value
        elif which == "int_value":
            found[pair.key] = value.int_value
        elif which == "double_value":
            found[pair.key] = value.double_value
        else:
            found[pair.key] = _value(value)
    if len(found) < len(pairs):
        return merged_pairs((pair.key, _value(pair.value)) for pair in pairs)
    return found


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which == "string_value":
        return value.string_value
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
        found["name"] = scope.name
    if scope.version:
        found["version"] = scope.version
    if scope.attributes:
        found["attributes"] = _attributes(scope.attributes)
    return found


def _tags(record: Any) -> Tags:
    trace_id, span_id = record.trace_id, record.span_id
    return Tags(
        trace_id.hex() if trace_id else None,
        span_id.hex() if span_id else None,
        record.severity_text or None,
        record.event_name or None,
        record.flags or None,
    )
