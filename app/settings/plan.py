"""What the running service is told: all that its parts are built from, and nothing of where it was written.

Made of Settings by `app.settings.planning`. `app.run` sees this module, and no other of this package.
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
    """PEM files. client_ca: who signs the certificates that clients must show; None: they need none."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class ListeningPlan(msgspec.Struct, frozen=True):
    """Where connections are accepted, and how many. port: 0 takes any free one. tls: None for plain HTTP.

    on_loopback: whether only this machine can reach `host`. workers: processes that take batches; 1: this
    one does. drain_timeout_s: a stop, for requests under way.
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
    """How batches come in. is_taken: whether this process takes any.

    trusted_proxies: networks whose word for a client's address counts. cors_origins: web origins whose pages
    may send. maps: JSON of clients' own.
    """

    is_taken: bool
    policy: IngestPolicy
    trusted_proxies: Sequence[Network]
    cors_origins: Sequence[str]
    maps: Sequence[JsonMap]


class AuthPlan(msgspec.Struct, frozen=True):
    """api_keys_file: None where none is configured. admin_token: None where there is none."""

    api_keys_file: Path | None
    admin_token: SecretStr | None


class LogPlan(msgspec.Struct, frozen=True):
    """level: lines below it are not written. levels: others by name of a logger. requests: a line each."""

    format: Literal["console", "json"]
    level: str
    levels: Mapping[str, str]
    requests: bool


class MetricsPlan(msgspec.Struct, frozen=True):
    """enabled: GET /metrics, and a line in the log every interval_s. workspaces: with series of their own."""

    enabled: bool
    interval_s: float
    workspaces: int


class StoragePlan(msgspec.Struct, frozen=True):
    """Where the journal and the files are. store: None where files go to a directory.

    shown: that directory, or the bucket's URL, as the operator wrote it. key: where that was written.
    """

    paths: SinkPaths
    store: StorePolicy | None
    shown: str
    key: str


class CatalogPlan(msgspec.Struct, frozen=True):
    """embedded: the directory of the embedded catalog, where that is the one."""

    policy: CatalogPolicy
    embedded: Path | None


class KafkaPlan(msgspec.Struct, frozen=True):
    """Kafka as the journal. role: what this process does of it all."""

    role: Role
    policy: KafkaPolicy


class QueryPlan(msgspec.Struct, frozen=True):
    """enabled: whether POST /query is answered. listeners_max: of GET /tail at a time."""

    enabled: bool
    policy: QueryPolicy
    lake: Lake
    listeners_max: int


class Policies(msgspec.Struct, frozen=True):
    """What a batch meets on its way into files; see the types. max_delay_s: of JournalStore.

    quotas: by workspace, None for all that have none of their own.
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
    """The whole. catalog: None where no tables list the files. kafka: None with a journal of one's own."""

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
    """What reading the configuration again has brought: the plan of all that is written now.

    at_once: keys that have changed and count without a restart. waiting: those that count from the next
    start, as the file stands now.
    """

    plan: Plan
    at_once: Sequence[str]
    waiting: Sequence[str]


class Configuration(Protocol):
    """Where a plan comes from. It can be passed to other processes, and then goes on from what it knows."""

    @property
    def plan(self) -> Plan:
        """In force: as it was at the start, with what was changed since and counts at once."""
        ...

    def file(self) -> Path | None:
        """What a change is to be looked for in, whether or not it is there."""
        ...

    def read_again(self) -> Reread:
        """What counts at once is in force from then on. Raises ConfigurationError, and changes nothing."""
        ...
