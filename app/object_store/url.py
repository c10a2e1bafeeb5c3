"""Where on an object store the files stand: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`."""

import re
from enum import Enum
from typing import Final

import msgspec

_URL: Final = re.compile(r"([a-z0-9]+)://([^/]*)(?:/(.*))?", re.DOTALL)
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_PREFIX: Final = re.compile(r"[A-Za-z0-9!_.*'()=-]+(?:/[A-Za-z0-9!_.*'()=-]+)*")


class Provider(Enum):
    """Whose protocol is spoken, by scheme."""

    S3 = "s3"
    GOOGLE = "gs"
    AZURE = "az"


class StoreUrl(msgspec.Struct, frozen=True):
    """prefix: before every name, without a slash at either end; empty for the bucket itself."""

    provider: Provider
    bucket: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.provider.value}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


def is_url(text: str) -> bool:
    """Whether this is meant for a URL; a path of a directory never looks like one."""
    return "://" in text


def parse_url(text: str) -> StoreUrl:
    """Raises ValueError, saying what is allowed."""
    match = _URL.fullmatch(text.strip())
    providers = {provider.value: provider for provider in Provider}
    if match is None or match[1] not in providers:
        raise ValueError(
            f'{text!r}: a URL must begin with "s3://", "gs://" or "az://"; otherwise name a directory'
        )
    scheme, bucket, prefix = match[1], match[2], (match[3] or "").rstrip("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f'{text!r} names no bucket; write "{scheme}://bucket/prefix"')
    if prefix and (not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise ValueError(
            f"{text!r}: a prefix may contain letters, digits and !_.*'()=- between single slashes"
        )
    return StoreUrl(providers[scheme], bucket, prefix)
