"""What an operator can set: typed, documented, and refused when unknown.

Seen only by main, lifespan and cli; every other part is given a small policy of its own.
"""

import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from app.catalog_settings import WithCatalog
from app.configuration_source import ConfigurationError, Sources, complaints, read_sources
from app.kafka_settings import KafkaSettings
from app.object_store.policy import OBJECT_BYTES_MAX
from app.object_store.url import StoreUrl, is_url, parse_url
from app.parquet.location import checked_node_id
from app.parquet.promotion import (
    PROMOTIONS_MAX,
    PromotedType,
    Promotion,
    parse_path,
    refuse_conflicts,
)
from app.quantities import DurationText, SizeText, parse_duration, parse_size
from app.schema import Kind
from app.store_settings import StoreSettings

__all__ = ["ConfigurationError", "Settings", "load"]

DEFAULT_SINK_PATH = "parquet/"
STORE_FLUSH_INTERVAL = "10m"


def _items(value: object) -> object:
    """A list may be one text with commas, since an environment variable can be nothing else."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _path(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("the path is empty")
    return value


def _place(value: object) -> object:
    """A directory, or the URL of an object store in its plain form."""
    if isinstance(value, str) and value.strip():
        return str(parse_url(value)) if is_url(value) else Path(value)
    return _path(value)


def _token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if re.search("replace[-_ ]?(me|with|this)|change[-_ ]?(me|this)", text, re.IGNORECASE):
        raise ValueError("this is the placeholder of an example; put a secret of your own in its place")
    if len(text) < 16 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a token is at least 16 printable ASCII characters without spaces")
    return token


def _network(value: object) -> object:
    """A network, or one address, in CIDR notation."""
    if isinstance(value, str):
        try:
            return ip_network(value)
        except ValueError as error:
            raise ValueError(f'{error}; write a network as "10.0.0.0/8" or one address') from None
    return value


Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Place = Annotated[Path | str, BeforeValidator(_place)]
NamedPath = Annotated[Path, BeforeValidator(_path)]
AtLeastOne = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Section):
    """`[server]`: where it listens, and what one request and all of them together may take."""

    role: Literal["all", "ingest", "writer"] = Field(
        default="all", description="with a Kafka journal: takes batches, publishes them, or both"
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="TCP port; 0 takes any free one")
    tls_certificate: NamedPath | None = Field(default=None, description="PEM file with the certificate chain")
    tls_key: NamedPath | None = Field(default=None, description="PEM file with its private key")
    max_body_size: Annotated[int, SizeText("1KB")] = Field(
        default=parse_size("10MB"), description="one request body, as sent and after decompression"
    )
    max_expanded_size: Annotated[int, SizeText("1KB")] = Field(
        default=parse_size("64MB"),
        description="the rows of one batch in memory (rows may share bytes in the body)",
    )
    max_rows_per_request: AtLeastOne = Field(default=100_000, description="rows in one batch")
    max_header_size: Annotated[int, SizeText("1KB")] = Field(
        default=parse_size("32KiB"), description="request line and headers"
    )
    max_inflight_size: Annotated[int, SizeText("1KB")] = Field(
        default=parse_size("128MB"),
        description="bodies being received or waiting for their answer, all together",
    )
    workspace_share: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="of max_inflight_size and max_buffered_size for one workspace; beyond it: 429",
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
    cors_origins: Annotated[list[str], BeforeValidator(_items)] = Field(
        default=["*"], description="web origins whose pages may send batches; never with cookies"
    )
    trusted_proxies: Annotated[list[Network], BeforeValidator(_items)] = Field(
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
        if self.max_expanded_size < self.max_body_size:
            raise ValueError("max_expanded_size is below max_body_size")
        if self.max_inflight_size < self.workers * self.max_body_size:
            raise ValueError("max_inflight_size is below workers x max_body_size: one could take no body")
        return self


class AuthSettings(_Section):
    """`[auth]`: who may send, who may administer."""

    api_keys_file: NamedPath | None = Field(
        default=None,
        description="`hexkey:workspace_id[:name]` a line; needed to listen on other than loopback",
    )
    admin_token: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        default=None, description="bearer token for the admin calls, across workspaces"
    )


class JournalSettings(KafkaSettings, _Section):
    """`[journal]`: what makes a batch durable, and how much of it may pile up."""

    path: NamedPath = Field(default=Path("journal/"), description="directory; never inside a sink's path")
    acknowledge: Literal["fsync", "write", "memory"] = Field(
        default="fsync", description="a 202 survives: a power cut / a killed process / nothing"
    )
    segment_size: Annotated[int, SizeText("4KiB")] = Field(
        default=parse_size("64MB"), description="a segment file"
    )
    max_size: Annotated[int, SizeText("8KiB")] = Field(
        default=parse_size("4GB"),
        description="all segments; beyond it batches are refused with 503 until files are written",
    )
    max_group_size: Annotated[int, SizeText("1B")] = Field(
        default=parse_size("8MB"), description="bodies made durable by one sync (one batch always fits)"
    )
    max_group_batches: AtLeastOne = Field(default=4096, description="batches made durable by one sync")
    min_free_space: Annotated[int, SizeText("0B")] = Field(
        default=parse_size("256MB"), description="below this much free disk, batches are refused with 507"
    )
    resume_free_space: Annotated[int, SizeText("0B")] = Field(
        default=parse_size("320MB"), description="above this much free disk, they are taken again"
    )
    reserve_size: Annotated[int, SizeText("0B")] = Field(
        default=parse_size("32MB"),
        description="kept in a file, given up when the disk is full so that buffered rows can be written",
    )
    min_free_inodes: int = Field(default=1000, ge=0, description="the same for free inodes")
    deduplication_batches: AtLeastOne = Field(default=100_000, description="batch ids remembered")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.resume_free_space < self.min_free_space:
            raise ValueError("resume_free_space is below min_free_space")
        if self.type == "kafka" and not (self.brokers and self.topic):
            raise ValueError('type = "kafka" needs `brokers` and `topic`')
        if self.max_size < 2 * self.segment_size:
            raise ValueError("max_size is below 2 x segment_size: nothing could ever be trimmed")
        return self


class PromotionSettings(_Section):
    """`[[sinks.<name>.promote]]`: a member of the payload's JSON as a column of its own."""

    kind: Literal["events", "logs", "snapshots"] = Field(description="whose files get the column")
    path: str = Field(description='the member, as `$.page`, `$.cart.total` or `$."a name"`')
    name: str = Field(
        pattern="^[A-Za-z_][A-Za-z0-9_]{0,62}$", description="the column; letters, digits and _"
    )
    type: Literal["string", "integer", "double", "boolean"] = Field(
        description="a value of another type is null there, and counted"
    )

    @field_validator("path")
    @classmethod
    def _is_a_path(cls, path: str) -> str:
        parse_path(path)
        return path

    @property
    def promotion(self) -> Promotion:
        return Promotion(Kind(self.kind), parse_path(self.path), self.name, PromotedType(self.type))


class ParquetSinkSettings(_Section):
    """`[sinks.<name>]` with `type = "parquet"`: where the files go and what they look like."""

    type: Literal["parquet"] = Field(default="parquet", description="the kind of sink")
    path: Place = Field(
        description="directory of the files, or `s3://bucket/prefix`, `gs://…`, `az://…`; "
        "required in a `[sinks.<name>]` section"
    )
    store: StoreSettings = StoreSettings()
    rotation: Literal["hourly", "daily"] = Field(
        default="daily", description="a file a day, or a file an hour"
    )
    compression: Literal["snappy", "gzip", "lz4", "zstd", "uncompressed"] = Field(
        default="snappy", description="codec of the columns"
    )
    compression_level: int | None = Field(
        default=None, ge=1, le=22, description="of zstd (1-22) or gzip (1-9); without it zstd 1, gzip 6"
    )
    data_format: Literal["json", "binary"] = Field(
        default="json", description="json: a payload that is not JSON is refused; binary: bytes as they came"
    )
    payload_type: Literal["binary", "json"] = Field(
        default="binary", description="json: the column carries Parquet's JSON annotation"
    )
    promote: list[PromotionSettings] = Field(
        default=[], max_length=PROMOTIONS_MAX, description="members of the payload as columns of their own"
    )
    metrics_enabled: bool = Field(default=True, description="a summary line in the log, and GET /metrics")
    metrics_interval: Annotated[float, DurationText("100ms")] = Field(
        default=parse_duration("10s"), description="how often that line"
    )
    flush_interval: Annotated[float, DurationText("10ms")] = Field(
        default=parse_duration("60s"),
        description="a file lags behind at most this, or 1/16 of its partition's age; "
        "10m where `path` is a URL",
    )
    max_file_size: Annotated[int, SizeText("1KB")] = Field(
        default=parse_size("128MB"), description="a file that would exceed it is sealed"
    )
    row_group_rows: AtLeastOne = Field(default=1_000_000, description="rows in a row group at most")
    row_group_size: Annotated[int, SizeText("1KB")] = Field(
        default=parse_size("8MB"), description="encoded bytes in a row group, about, at most"
    )
    max_buffered_size: Annotated[int, SizeText("1KB")] = Field(
        default=parse_size("128MB"),
        description="rows acknowledged and not yet in files, in memory; beyond it: 503",
    )

    @property
    def directory(self) -> Path | None:
        """Where the files are; None when they are on an object store."""
        return self.path if isinstance(self.path, Path) else None

    @property
    def url(self) -> StoreUrl | None:
        """Where the files are on an object store, if they are on one."""
        return None if isinstance(self.path, Path) else parse_url(self.path)

    @model_validator(mode="before")
    @classmethod
    def _default_interval(cls, values: Any) -> Any:
        """Each flush makes an object there, and objects do not grow."""
        if isinstance(values, dict) and is_url(str(values.get("path", ""))):
            return {"flush_interval": STORE_FLUSH_INTERVAL, **values}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.compression_level is not None:
            highest = {"gzip": 9, "zstd": 22}.get(self.compression)
            if highest is None:
                raise ValueError(f'compression_level is for "zstd" and "gzip", not "{self.compression}"')
            if self.compression_level > highest:
                raise ValueError(f"compression_level of {self.compression} is at most {highest}")
        if self.url is not None and self.max_file_size > OBJECT_BYTES_MAX:
            raise ValueError(f"max_file_size is above {OBJECT_BYTES_MAX} bytes, the largest upload there is")
        if self.data_format != "json" and (self.payload_type == "json" or self.promote):
            raise ValueError('payload_type = "json" and promote need data_format = "json"')
        refuse_conflicts([each.promotion for each in self.promote])
        return self


class Settings(WithCatalog, _Section):
    """The whole configuration. `sinks` holds exactly one sink in this version."""

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    journal: JournalSettings = JournalSettings()
    sinks: dict[str, ParquetSinkSettings] = {"parquet": ParquetSinkSettings(path=Path(DEFAULT_SINK_PATH))}

    @property
    def sink(self) -> ParquetSinkSettings:
        """The one sink."""
        (sink,) = self.sinks.values()
        return sink

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.sinks) != 1:
            raise ValueError(f"sinks: exactly one [sinks.<name>] is supported, not {len(self.sinks)}")
        if self.server.workers > 1 and self.journal.type == "kafka":
            raise ValueError('server.workers: with Kafka, start more processes of role = "ingest" instead')
        if not self.server.on_loopback and self.auth.api_keys_file is None:
            raise ValueError(
                f'server.host "{self.server.host}" can be reached from other machines, and there are no '
                'API keys: set auth.api_keys_file, or listen on "127.0.0.1"'
            )
        if self.server.role != "all" and self.journal.type != "kafka":
            raise ValueError(f'server.role "{self.server.role}" needs journal.type = "kafka"')
        if self.journal.type == "kafka" and not self.sink.store.conditional_writes:
            raise ValueError('journal.type = "kafka" needs a store with conditional_writes')
        (name,) = self.sinks
        if self.sink.directory is None or self.journal.type == "kafka":
            return self
        journal, data = self.journal.path.resolve(), self.sink.directory.resolve()
        if journal.is_relative_to(data) or data.is_relative_to(journal):
            raise ValueError(
                f"journal.path ({journal}) and sinks.{name}.path ({data}) overlap; "
                "use two directories side by side"
            )
        return self


def load(
    config: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, str] = MappingProxyType({}),
) -> Settings:
    """The settings from command line flags, else environment variables, else the file, else the defaults.

    The file is `config`, else what PARQUET_SINK_CONFIG names, else parquet-sink.toml in the working
    directory if there is one. flags: value by dotted key, as {"server.host": "0.0.0.0"}.
    Raises ConfigurationError with every mistake found.
    """
    sources = read_sources(config, environ, flags)
    try:
        return Settings.model_validate(_with_default_sink(sources))
    except ValidationError as error:
        raise ConfigurationError(complaints(error, Settings, sources)) from None


def _with_default_sink(sources: Sources) -> dict[str, Any]:
    """Where the file has no sink, environment variables change the default one."""
    values = dict(sources.values)
    match values.get("sinks", {}):
        case {"parquet": dict(sink)} as sinks if len(sinks) == 1 and not sources.file_has("sinks"):
            values["sinks"] = {"parquet": {"path": DEFAULT_SINK_PATH, **sink}}
    return values
