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
    """`[server]`: where it listens, and what one request and all of them together may take."""

    role: Literal["all", "ingest", "writer"] = Field(
        default="all", description="with a Kafka journal: takes batches, publishes them, or both"
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="TCP port; 0 takes any free one")
    tls_certificate: NamedPath | None = Field(default=None, description="PEM file with the certificate chain")
    tls_key: NamedPath | None = Field(default=None, description="PEM file with its private key")
    tls_client_ca: NamedPath | None = Field(
        default=None, description="PEM file; clients must then show a certificate that it has signed"
    )
    access_log: bool = Field(default=False, description="a line in the log for each request")
    max_body_size: Annotated[ByteSize, AtLeast("1KB")] = Field(
        default=parse_size("10MB"), description="one request body, as sent and after decompression"
    )
    max_expanded_size: Annotated[ByteSize, AtLeast("1KB")] = Field(
        default=parse_size("64MB"),
        description="the rows of one batch in memory (rows may share bytes in the body)",
    )
    max_rows_per_request: AtLeastOne = Field(default=100_000, description="rows in one batch")
    max_header_size: Annotated[ByteSize, AtLeast("1KB")] = Field(
        default=parse_size("32KiB"), description="request line and headers"
    )
    max_inflight_size: Annotated[ByteSize, AtLeast("1KB")] = Field(
        default=parse_size("128MB"),
        description="bodies being received or waiting for their answer, all together",
    )
    workspace_share: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="of max_inflight_size and journal.max_size for one workspace; beyond it: 429",
    )
    max_delay: Annotated[float, DurationText("0s")] = Field(
        default=parse_duration("500ms"),
        description="a batch is held back this long, at most, while rows come faster than files are written",
    )
    max_connections: AtLeastOne = Field(default=10_000, description="open connections; more are answered 503")
    workers: int = Field(
        default=1, ge=1, le=64, description="processes that take batches; more than 1: beside one that stores"
    )
    backlog: AtLeastOne = Field(
        default=2048, description="connections the kernel holds until they are accepted"
    )
    request_timeout: Annotated[float, DurationText("10ms")] = Field(
        default=parse_duration("30s"), description="until a request has arrived whole"
    )
    keep_alive_timeout: Annotated[float, DurationText("1s")] = Field(
        default=parse_duration("75s"),
        description="until an idle connection is closed; longer than a load balancer's own",
    )
    node_id: Annotated[str, AfterValidator(checked_node_id)] | None = Field(
        default=None, description="stands in the names of files, where several nodes write into one place"
    )
    drain_timeout: Annotated[float, DurationText("0s")] = Field(
        default=parse_duration("20s"),
        description="shutdown: for requests under way, then for writing buffered rows",
    )
    cors_origins: Annotated[list[str], BeforeValidator(comma_list)] = Field(
        default=["*"], description="web origins whose pages may send batches; never with cookies"
    )
    trusted_proxies: Annotated[list[Network], BeforeValidator(comma_list)] = Field(
        default=[], description="networks whose X-Forwarded-For, Forwarded and batch source_ip count"
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
            raise ValueError("tls_certificate and tls_key go together; set both or neither")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        if self.max_expanded_size < self.max_body_size:
            raise ValueError("max_expanded_size is below max_body_size")
        if self.max_inflight_size < self.workers * self.max_body_size:
            raise ValueError("max_inflight_size is below workers x max_body_size: one could take no body")
        return self


class AuthSettings(Section):
    """`[auth]`: who may send, who may administer."""

    api_keys_file: NamedPath | None = Field(
        default=None,
        description="`hexkey:workspace_id[:name]` a line; needed to listen on other than loopback",
    )
    admin_token: Annotated[SecretStr, AfterValidator(checked_token)] | None = Field(
        default=None, description="bearer token for the admin calls, across workspaces"
    )
