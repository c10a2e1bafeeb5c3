"""`[server]` and `[auth]`."""

from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    SecretStr,
    model_validator,
)

from app.parquet.location import checked_node_id
from app.settings.fields import AtLeastOne, NamedPath, Network, Section, checked_token, comma_list
from app.settings.quantities import AtLeast, DurationText, parse_duration, parse_size


class ServerSettings(Section):
    """`[server]`: where the service listens, and the limits for one request and for all together."""

    role: Literal["all", "ingest", "writer"] = Field(
        default="all", description="with a Kafka journal: takes batches, publishes them, or both"
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="TCP port; 0 takes any free one")
    tls_certificate: NamedPath | None = Field(default=None, description="PEM file with the certificate chain")
    tls_key: NamedPath | None = Field(default=None, description="PEM file with the certificate's private key")
    tls_client_ca: NamedPath | None = Field(
        default=None, description="PEM file of a CA; if set, clients must present a certificate signed by it"
    )
    access_log: bool = Field(default=False, description="log a line for each request")
    max_body_size: Annotated[ByteSize, AtLeast("1KB")] = Field(
        default=parse_size("10MB"),
        description="size of one request body, both as sent and after decompression",
    )
    max_expanded_size: Annotated[ByteSize, AtLeast("1KB")] = Field(
        default=parse_size("64MB"),
        description="size of the rows of one batch in memory (rows may share bytes in the body)",
    )
    max_rows_per_request: AtLeastOne = Field(default=100_000, description="rows in one batch")
    max_header_size: Annotated[ByteSize, AtLeast("1KB")] = Field(
        default=parse_size("32KiB"), description="size of the request line and headers"
    )
    max_inflight_size: Annotated[ByteSize, AtLeast("1KB")] = Field(
        default=parse_size("128MB"),
        description="total size of the bodies being received or waiting for their answer",
    )
    workspace_share: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="share of max_inflight_size and journal.max_size for one workspace; above it, batches "
        "are refused with 429",
    )
    max_delay: Annotated[float, DurationText("0s")] = Field(
        default=parse_duration("500ms"),
        description="how long a batch is delayed at most while rows arrive faster than files are written",
    )
    max_connections: AtLeastOne = Field(
        default=10_000, description="open connections; further ones are answered 503"
    )
    max_connections_per_address: AtLeastOne = Field(
        default=5_000,
        description="open connections of one client address (IPv6: of one /64); proxies in trusted_proxies "
        "are not limited",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="processes that take batches; if more than 1, a separate process stores the rows",
    )
    backlog: AtLeastOne = Field(
        default=2048, description="connections that the kernel queues until they are accepted"
    )
    request_timeout: Annotated[float, DurationText("10ms")] = Field(
        default=parse_duration("30s"), description="time within which a request must have arrived completely"
    )
    keep_alive_timeout: Annotated[float, DurationText("1s")] = Field(
        default=parse_duration("75s"),
        description="time after which an idle connection is closed; should be longer than a load balancer's "
        "timeout",
    )
    node_id: Annotated[str, AfterValidator(checked_node_id)] | None = Field(
        default=None,
        description="name of this node, part of file names where several nodes write to one place",
    )
    drain_timeout: Annotated[float, DurationText("0s")] = Field(
        default=parse_duration("20s"),
        description="at shutdown: time limit for requests in progress, and then again for writing buffered "
        "rows",
    )
    cors_origins: Annotated[list[str], BeforeValidator(comma_list)] = Field(
        default=["*"], description="web origins whose pages may send batches (never with cookies)"
    )
    trusted_proxies: Annotated[list[Network], BeforeValidator(comma_list)] = Field(
        default=[],
        description="networks of proxies whose X-Forwarded-For, Forwarded and batch source_ip are trusted",
    )

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together; set both or neither")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        if self.max_expanded_size < self.max_body_size:
            raise ValueError("max_expanded_size must not be below max_body_size")
        if self.max_inflight_size < self.workers * self.max_body_size:
            raise ValueError(
                "max_inflight_size must be at least workers x max_body_size, otherwise a worker could not "
                "take a single body"
            )
        return self


class AuthSettings(Section):
    """`[auth]`: who may send and who may administer."""

    api_keys_file: NamedPath | None = Field(
        default=None,
        description="file with one `hexkey:workspace_id[:name]` per line; required to listen on anything "
        "but loopback",
    )
    admin_token: Annotated[SecretStr, AfterValidator(checked_token)] | None = Field(
        default=None, description="bearer token for the admin calls, for all workspaces"
    )
    wrong_key_delay_max: Annotated[float, DurationText("0s")] = Field(
        default=parse_duration("2s"),
        description="how long an address (IPv6: a /64) that keeps sending wrong keys waits for each 401 at "
        "most; 0s: not at all",
    )
