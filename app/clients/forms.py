"""Bodies of browsers: plain JSON, base64, or either of these in a form's `data`."""

import base64
import binascii
from typing import Final
from urllib.parse import parse_qs

from app.clients.call import ClientRequest
from app.clients.lenient_json import unquoted
from app.errors import MalformedBatch

_FIELDS_MAX: Final = 100
_OF_URLS: Final = bytes.maketrans(b"-_", b"+/")


def json_of(request: ClientRequest) -> tuple[bytes, dict[str, str]]:
    """The JSON text of a body, and the form's other fields. Raises MalformedBatch, BodyTooLarge."""
    body = unquoted(request.body)
    if body[:1] in (b"{", b"["):
        return body, {}
    fields: dict[str, str] = {}
    if b"data=" in body[:1000] or "form" in request.headers.get("content-type", ""):
        try:
            parsed = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
        except ValueError:
            raise MalformedBatch("the body is not a form with ASCII fields") from None
        fields = {name: values[-1] for name, values in parsed.items()}
        if len(parsed.get("data", ())) != 1:
            raise MalformedBatch("the body is a form, and must have one field `data`, with JSON")
        body = fields.pop("data").encode("utf-8", "surrogatepass").strip()
    if body[:1] in (b"{", b"["):
        return body, fields
    try:
        decoded = from_base64(body)
    except binascii.Error:
        raise MalformedBatch("the body is neither JSON, nor base64 of JSON, nor a form with `data`") from None
    return request.unpack(decoded, "").strip(), fields


def from_base64(text: bytes) -> bytes:
    """Also of the alphabet for URLs, on several lines, and without padding. Raises binascii.Error."""
    # A plus in a form that was not escaped has become a blank.
    text = b"".join(text.splitlines()).replace(b" ", b"+").translate(_OF_URLS).rstrip(b"=")
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
