"""Headers as ASGI carries them."""

RawHeaders = list[tuple[bytes, bytes]]
"""Names in lower case, in the order in which they arrived; a name may occur several times."""


def header(headers: RawHeaders, wanted: bytes) -> bytes | None:
    """The first header of this name, None if there is none."""
    for name, value in headers:
        if name == wanted:
            return value
    return None
