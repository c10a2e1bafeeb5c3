"""What an operator can set: typed and documented; unknown keys are refused.

Only the commands see it; `planning.py` turns it into the Plan that the running service is given.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from pydantic import (
    Field,
    ValidationError,
    model_validator,
)

from app.errors import ConfigurationError
from app.settings.catalog import WithCatalog
from app.settings.complaints import complaints
from app.settings.fields import Section
from app.settings.ingest import IngestSettings
from app.settings.journal import JournalSettings
from app.settings.log import LogSettings
from app.settings.query import QuerySettings
from app.settings.quota import QuotaSettings, refuse_second_quotas
from app.settings.retention import RETENTIONS_MAX, RetentionSettings, refuse_second_retentions
from app.settings.server import AuthSettings, ServerSettings
from app.settings.sink import ParquetSinkSettings
from app.settings.sources import Sources, read_sources

DEFAULT_SINK_PATH = "parquet/"


class Settings(WithCatalog, Section):
    """The whole configuration. `sinks` holds exactly one sink in this version."""

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    journal: JournalSettings = JournalSettings()
    ingest: IngestSettings = IngestSettings()
    query: QuerySettings = QuerySettings()
    log: LogSettings = LogSettings()
    quota: list[QuotaSettings] = Field(default=[], max_length=100_000, description="limits for workspaces")
    retention: list[RetentionSettings] = Field(
        default=[], max_length=RETENTIONS_MAX, description="how long files are kept"
    )
    sinks: dict[str, ParquetSinkSettings] = Field(
        default={"parquet": ParquetSinkSettings(path=Path(DEFAULT_SINK_PATH))}
    )

    @property
    def sink(self) -> ParquetSinkSettings:
        """The one sink."""
        (sink,) = self.sinks.values()
        return sink

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.sinks) != 1:
            raise ValueError(f"sinks: exactly one [sinks.<name>] is supported, not {len(self.sinks)}")
        refuse_second_quotas(self.quota)
        refuse_second_retentions(self.retention)
        if self.retention and self.journal.type == "kafka":
            raise ValueError(
                'retention: with journal.type = "kafka" files are not removed yet; leave out [[retention]]'
            )
        if self.sink.layout == "hive" and self.journal.type == "kafka":
            raise ValueError('layout: with journal.type = "kafka" only "plain" is supported yet')
        if self.sink.final.enabled and (self.journal.type == "kafka" or self.catalog.enabled):
            what = "a catalog" if self.catalog.enabled else 'journal.type = "kafka"'
            raise ValueError(
                f"final.enabled: with {what} files never change once they are published, so they are not "
                "compacted; leave out the key, or set it to false"
            )
        if self.sink.partition_by == "happened" and self.journal.type == "kafka":
            raise ValueError(
                'partition_by: with journal.type = "kafka" rows are partitioned by their time of receipt; '
                'use partition_by = "received"'
            )
        if self.retention and self.catalog.enabled:
            raise ValueError(
                "retention: files that are registered in tables are not removed yet; leave out "
                "[[retention]], delete old rows with an engine that writes Iceberg, or set catalog.type to "
                "'none'"
            )
        if self.journal.type == "kafka" and any(each.bytes_per_day is not None for each in self.quota):
            raise ValueError(
                "quota: with Kafka no process knows all that a workspace sends in a day; leave out "
                "bytes_per_day"
            )
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
                f"journal.path ({journal}) and sinks.{name}.path ({data}) overlap; use two separate "
                "directories"
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
    """If the file has no sink, environment variables change the default one."""
    values = dict(sources.values)
    match values.get("sinks", {}):
        case {"parquet": dict(sink)} as sinks if len(sinks) == 1 and not sources.file_has("sinks"):
            values["sinks"] = {"parquet": {"path": DEFAULT_SINK_PATH, **sink}}
    return values
