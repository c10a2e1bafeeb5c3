"""The plan of a running service: every policy, path and limit that its parts are built from.

`app.settings.planning` makes it from the settings. `app.run` sees this module and no other of this package.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec
from pydantic import SecretStr

from app.api.client_address import Network
from app.api.connection.guarded_protocol import ConnectionPolicy
from app.api.ingest_request import IngestPolicy
from app.catalog.policy import CatalogPolicy
from app.clients.json_map import JsonMap
from app.commit.admission import AdmissionPolicy
from app.commit.batch_ids import DeduplicationPolicy
from app.commit.group_queue import GroupPolicy
from app.commit.quota_policy import QuotaPolicy
from app.journal.policy import JournalPolicy
from app.kafka.policy import KafkaPolicy, Role
from app.object_store.policy import StorePolicy
from app.publish.paths import SinkPaths
from app.publish.rotation import WriterPolicy
from app.query.policy import Lake, QueryPolicy
from app.submission import DecodePolicy


class TlsFiles(msgspec.Struct, frozen=True):
    """PEM files. client_ca: the CA of required client certificates; None: none are required."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class ListeningPlan(msgspec.Struct, frozen=True):
    """Where connections are accepted, and how many. port: 0 for any free one. tls: None for plain HTTP.

    on_loopback: whether only this machine can reach `host`. workers: the number of processes that take
    batches; with 1 it is this process. drain_timeout_s: at a stop, for requests in progress.
    """

    host: str
    port: int
    backlog: int
    on_loopback: bool
    tls: TlsFiles | None
    workers: int
    max_connections: int
    connection: ConnectionPolicy
    drain_timeout_s: float

    @property
    def request_timeout_s(self) -> float:
        return self.connection.request_timeout_s


class IngestPlan(msgspec.Struct, frozen=True):
    """How batches are received. is_taken: whether this process takes batches.

    trusted_proxies: networks that may name the address of a client. cors_origins: web origins whose pages
    may send batches. maps: the custom JSON formats.
    """

    is_taken: bool
    policy: IngestPolicy
    trusted_proxies: Sequence[Network]
    cors_origins: Sequence[str]
    maps: Sequence[JsonMap]


class AuthPlan(msgspec.Struct, frozen=True):
    """api_keys_file, admin_token: None if not configured. wrong_key_delay_max_s: longest delay of a 401."""

    api_keys_file: Path | None
    admin_token: SecretStr | None
    wrong_key_delay_max_s: float


class LogPlan(msgspec.Struct, frozen=True):
    """level: lines below it are not written. levels: by logger. requests: whether each request is logged."""

    format: Literal["console", "json"]
    level: str
    levels: Mapping[str, str]
    requests: bool


class MetricsPlan(msgspec.Struct, frozen=True):
    """enabled: GET /metrics, and a log line every interval_s. workspaces: how many have their own series."""

    enabled: bool
    interval_s: float
    workspaces: int


class StoragePlan(msgspec.Struct, frozen=True):
    """Where the journal and the files are. store: None if files are written to a directory.

    shown: that directory, or the bucket's URL, as configured. key: the key it is configured by.
    """

    paths: SinkPaths
    store: StorePolicy | None
    shown: str
    key: str


class CatalogPlan(msgspec.Struct, frozen=True):
    """embedded: the directory of the embedded catalog; None for other catalogs."""

    policy: CatalogPolicy
    embedded: Path | None


class KafkaPlan(msgspec.Struct, frozen=True):
    """Kafka as the journal. role: the role of this process."""

    role: Role
    policy: KafkaPolicy


class QueryPlan(msgspec.Struct, frozen=True):
    """enabled: whether POST /query is answered. listeners_max: concurrent clients of GET /tail."""

    enabled: bool
    policy: QueryPolicy
    lake: Lake
    listeners_max: int


class Policies(msgspec.Struct, frozen=True):
    """The policies for batches and files; each is documented with its class. max_delay_s: for JournalStore.

    quotas: by workspace; None for all workspaces without a quota of their own.
    """

    admission: AdmissionPolicy
    decode: DecodePolicy
    group: GroupPolicy
    max_delay_s: float
    deduplication: DeduplicationPolicy
    journal: JournalPolicy
    writer: WriterPolicy
    reserve_bytes: int
    drain_timeout_s: float
    publish_timeout_s: float
    quotas: Mapping[int | None, QuotaPolicy] = {}


class Plan(msgspec.Struct, frozen=True):
    """The whole plan. catalog: None without tables. kafka: None with a local journal."""

    listening: ListeningPlan
    ingest: IngestPlan
    auth: AuthPlan
    log: LogPlan
    metrics: MetricsPlan
    storage: StoragePlan
    catalog: CatalogPlan | None
    kafka: KafkaPlan | None
    query: QueryPlan
    policies: Policies


class Reread(msgspec.Struct, frozen=True):
    """The result of reading the configuration again. plan: of the configuration as it is now.

    at_once: changed keys that take effect without a restart. waiting: changed keys that take effect at the
    next start.
    """

    plan: Plan
    at_once: Sequence[str]
    waiting: Sequence[str]


class Configuration(Protocol):
    """The source of the plan. It can be passed to other processes, with its state."""

    @property
    def plan(self) -> Plan:
        """The current plan: that of the start, with the changes since that take effect without a restart."""
        ...

    def file(self) -> Path | None:
        """The file to watch for changes, whether or not it exists."""
        ...

    def read_again(self) -> Reread:
        """Applies the changes that need no restart. Raises ConfigurationError, and then changes nothing."""
        ...
