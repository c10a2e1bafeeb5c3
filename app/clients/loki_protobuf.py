"""Loki's PushRequest: a snappy-compressed protocol buffer, defined here since no package has it."""

import re
from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from app.clients.call import ClientRequest
from app.clients.repeated_keys import merged_pairs
from app.errors import MalformedBatch

_Field: Final = descriptor_pb2.FieldDescriptorProto
_LABEL: Final = re.compile(r'(?<![^\s,{])([^\s=!~{},"]++)\s*+=\s*+"((?:[^"\\]++|\\.)*+)"')
"""A name begins after a comma, a brace or a space, so a long one is not tried from each of its letters."""
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}

# Strings as bytes: one that is no UTF-8 would otherwise cost the whole request.
_MESSAGES: Final = {
    "PushRequest": (("streams", 1, "Stream", True),),
    "Stream": (("labels", 1, "", False), ("entries", 2, "Entry", True)),
    "Entry": (("timestamp", 1, "Timestamp", False), ("line", 2, "", False), ("metadata", 3, "Pair", True)),
    "Timestamp": (("seconds", 1, "int64", False), ("nanos", 2, "int32", False)),
    "Pair": (("name", 1, "", False), ("value", 2, "", False)),
}
_NUMBERS: Final = {"int64": _Field.TYPE_INT64, "int32": _Field.TYPE_INT32}


def streams(request: ClientRequest) -> list[tuple[dict[str, Any], list[Any]]]:
    """Labels and entries (nanoseconds, line, metadata) of each stream. Raises MalformedBatch."""
    body = request.body
    if "snappy" not in request.headers.get("content-encoding", "").lower():
        body = request.unpack(body, "snappy")
    push = _push_request()()
    try:
        push.ParseFromString(body)
    except DecodeError:
        raise MalformedBatch("the body is not a PushRequest") from None
    return [
        (labels(_text(stream.labels)), [_entry(each) for each in stream.entries]) for stream in push.streams
    ]


def labels(text: str) -> dict[str, Any]:
    """The labels of `{name="value", …}`."""
    found = _LABEL.findall(text.strip().strip("{}"))
    return merged_pairs((name, _unescaped(value)) for name, value in found)


def _entry(entry: Any) -> tuple[int, str, dict[str, Any]]:
    time = entry.timestamp.seconds * 1_000_000_000 + entry.timestamp.nanos
    return time, _text(entry.line), _metadata(entry.metadata)


def _metadata(pairs: Any) -> dict[str, Any]:
    return merged_pairs((_text(pair.name), _text(pair.value)) for pair in pairs) if pairs else {}


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), value)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


@cache
def _push_request() -> type:
    file = descriptor_pb2.FileDescriptorProto(name="push.proto", package="push", syntax="proto3")
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind, repeated in fields:
            field = message.field.add(name=name, number=number)
            field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if not kind:
                field.type = _Field.TYPE_BYTES
            elif kind in _NUMBERS:
                field.type = _NUMBERS[kind]
            else:
                field.type = _Field.TYPE_MESSAGE
                field.type_name = f".push.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made: type = message_factory.GetMessageClass(pool.FindMessageTypeByName("push.PushRequest"))
    return made
