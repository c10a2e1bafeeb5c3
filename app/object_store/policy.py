"""How the service connects to a store."""

from typing import Final

import msgspec

from app.object_store.url import StoreUrl

OBJECT_BYTES_MAX: Final = 5_000_000_000
"""The limit that every provider accepts in one request."""


class StorePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials are not here: the client finds them in the environment, as each provider's own tools do.

    endpoint: the URL of an S3-compatible store (or of Azure's emulator); None for the provider's own.
    region: of S3; None leaves it to the environment. virtual_hosted: the bucket is part of the host's name.
    conditional_writes: whether the store refuses to create an object that is there (`If-None-Match: *`).
    parallel_uploads: at the same time. request_timeout_s, connect_timeout_s: of one request; it is never
    repeated here: publishing retries.
    """

    url: StoreUrl
    endpoint: str | None = None
    region: str | None = None
    virtual_hosted: bool = False
    conditional_writes: bool = True
    parallel_uploads: int = 8
    request_timeout_s: float = 60.0
    connect_timeout_s: float = 5.0
