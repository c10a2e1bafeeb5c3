"""The expiry date of a certificate, read from its PEM file: the standard library shows it only for peers."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

SEQUENCE: Final = 0x30
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
END: Final = "-----END CERTIFICATE-----"


def certificate_end(pem: str) -> float:
    """Seconds since the epoch of the first certificate's notAfter. Raises ValueError."""
    first, found, _ = pem.partition(END)
    start = first.find("-----BEGIN CERTIFICATE-----")
    if not found or start < 0:
        raise ValueError("it contains no certificate")
    der = ssl.PEM_cert_to_DER_cert(first[start:] + END + "\n")
    ((_, certificate),) = list(_elements(der))
    _, to_be_signed = next(_elements(certificate))
    for tag, value in _elements(to_be_signed):
        times = list(_elements(value)) if tag == SEQUENCE else []
        if len(times) == 2 and all(each in (UTC_TIME, GENERALIZED_TIME) for each, _ in times):
            return _moment(*times[1])
    raise ValueError("its certificate has no validity period")


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and value of each DER element. Raises ValueError."""
    position = 0
    while position < len(data):
        if position + 2 > len(data):
            raise ValueError("its certificate is truncated")
        tag, length = data[position], data[position + 1]
        position += 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[position : position + count], "big")
            position += count
        if position + length > len(data):
            raise ValueError("its certificate is truncated")
        yield tag, data[position : position + length]
        position += length


def _moment(tag: int, value: bytes) -> float:
    text = value.decode("ascii")
    form = "%y%m%d%H%M%SZ" if tag == UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
