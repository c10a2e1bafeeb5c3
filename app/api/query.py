"""Query strings, which may contain any bytes: only the requested values are parsed."""

from urllib.parse import unquote_to_bytes


def query_values(query_string: bytes, wanted: bytes) -> list[bytes]:
    """The unescaped values of one parameter, in order.

    query_string: as ASGI has it. A parameter without `=` has the empty value.
    """
    values = []
    for pair in query_string.split(b"&"):
        name, _, value = pair.partition(b"=")
        if _unescaped(name) == wanted:
            values.append(_unescaped(value))
    return values


def _unescaped(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
