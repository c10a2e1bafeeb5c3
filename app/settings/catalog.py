"""The part of the configuration that is about a catalog of tables."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from app.catalog.policy import CatalogPolicy
from app.object_store.policy import StorePolicy
from app.object_store.url import Provider, parse_url
from app.settings.quantities import DurationText, parse_duration

FLUSH_INTERVAL: Final = "10m"
"""With a catalog each flush makes a file that never grows, and each file is an entry in a table's
manifests."""


class CatalogSettings(BaseModel):
    """`[catalog]`: tables that list the published files, for engines that read Iceberg."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["none", "iceberg"] = Field(
        default="none", description="iceberg: register published files in Iceberg tables"
    )
    path: Path = Field(
        default=Path("catalog/"),
        description="directory of the embedded catalog: an SQLite database and the tables' metadata; must "
        "not be inside a sink's path",
    )
    warehouse: str | None = Field(
        default=None,
        min_length=1,
        description="URL where the tables' metadata is stored; default: below `path`; required when files "
        "are on an object store",
    )
    namespace: str = Field(
        default="parquet_sink",
        pattern="^[A-Za-z_][A-Za-z0-9_]{0,62}$",
        description="namespace of the tables events, logs and snapshots",
    )
    properties: dict[str, SecretStr] = Field(
        default={},
        description="properties for pyiceberg's catalog and file access; with a `uri`, that catalog is used "
        "instead of the embedded one",
    )
    commit_interval: Annotated[float, DurationText("100ms")] = Field(
        default=parse_duration("60s"), description="how often new files are registered"
    )
    snapshots_max: int = Field(default=500, ge=1, description="how many snapshots a table keeps")
    snapshot_age: Annotated[float, DurationText("1s")] = Field(
        default=parse_duration("1d"),
        description="snapshots older than this are expired, except the newest one",
    )
    stop_timeout: Annotated[float, DurationText("0s")] = Field(
        default=parse_duration("10s"),
        description="at shutdown: how long to wait for the last published files to be registered",
    )

    @property
    def enabled(self) -> bool:
        return self.type == "iceberg"

    def policy(self, place: Path | StorePolicy, node: str | None) -> CatalogPolicy:
        """place: where data files are stored."""
        return CatalogPolicy(
            properties={**self._own_properties(place), **self._given_properties()},
            root=f"{place.url}/" if isinstance(place, StorePolicy) else f"file://{place.absolute()}/",
            namespace=self.namespace,
            node=node,
            commit_interval_s=self.commit_interval,
            stop_timeout_s=self.stop_timeout,
            snapshots_max=self.snapshots_max,
            snapshot_age_s=self.snapshot_age,
        )

    def _given_properties(self) -> dict[str, str]:
        return {name: value.get_secret_value() for name, value in self.properties.items()}

    def _own_properties(self, place: Path | StorePolicy) -> dict[str, str]:
        directory = self.path.absolute()
        properties = {
            "type": "sql",
            "uri": f"sqlite:///{directory / 'catalog.db'}",
            "warehouse": self.warehouse or f"file://{directory / 'warehouse'}",
            "py-io-impl": "app.catalog.durable_io.DurableFileIO",
        }
        if isinstance(place, StorePolicy):
            properties |= _store_properties(place)
        return properties

    @property
    def embedded(self) -> Path | None:
        """The directory of the embedded catalog, if that is the one in use."""
        return self.path.absolute() if self.enabled and "uri" not in self.properties else None


def _store_properties(store: StorePolicy) -> dict[str, str]:
    """What pyiceberg must know to read footers where the service writes files."""
    found = {
        "s3.connect-timeout": str(store.connect_timeout_s),
        "s3.request-timeout": str(store.request_timeout_s),
        "s3.force-virtual-addressing": str(store.virtual_hosted).lower(),
    }
    if store.endpoint is not None:
        found["s3.endpoint"] = store.endpoint
    if store.region is not None:
        found["s3.region"] = store.region
    return found


def _with_catalog_defaults(values: Any) -> Any:
    """With a catalog files never grow, so flush_interval is longer by default."""
    if not isinstance(values, dict) or _get(values.get("catalog"), "type") != "iceberg":
        return values
    sinks = values.get("sinks", {"parquet": {"path": "parquet/"}})
    if not isinstance(sinks, dict):
        return values
    calmer = {
        name: {"flush_interval": FLUSH_INTERVAL, **sink} if isinstance(sink, dict) else sink
        for name, sink in sinks.items()
    }
    return {**values, "sinks": calmer}


def _get(section: object, key: str) -> object:
    return section.get(key) if isinstance(section, dict) else None


class WithCatalog(BaseModel):
    """A configuration that may have a catalog, with the checks that this requires."""

    catalog: CatalogSettings = CatalogSettings()

    _calmer = model_validator(mode="before")(_with_catalog_defaults)

    @model_validator(mode="after")
    def _tables_can_list_files(self) -> Self:
        settings: Any = self
        if self.catalog.enabled and len(settings.sinks) == 1:
            if settings.journal.type == "kafka":
                raise ValueError('catalog: tables are not supported together with journal.type = "kafka" yet')
            _refuse_unfit_sink(self.catalog, settings.sink)
        return self


def _refuse_unfit_sink(catalog: CatalogSettings, sink: Any) -> None:
    if sink.payload_type == "json":
        raise ValueError('catalog: Iceberg has no type for payload_type = "json"; use "binary"')
    if sink.partition_by == "happened":
        raise ValueError(
            'catalog: tables are partitioned by the day of receipt, and partition_by = "happened" puts rows '
            'of many such days into one file; use "received"'
        )
    if sink.rotation == "monthly":
        raise ValueError(
            'catalog: tables are partitioned by day, and rotation = "monthly" puts many days into one file; '
            'use "daily" or "hourly"'
        )
    if sink.annotate or sink.ids_as != "fixed":
        raise ValueError(
            "catalog: a table's columns can never change their types, and the tables of this service use "
            "the plain ones; leave out annotate and ids_as"
        )
    if sink.url is None:
        directory, data = catalog.path.resolve(), sink.directory.resolve()
        if directory.is_relative_to(data) or data.is_relative_to(directory):
            raise ValueError(
                f"catalog.path ({directory}) and the files' path ({data}) overlap; use two separate "
                "directories"
            )
        return
    if sink.url.provider is Provider.AZURE:
        raise ValueError("catalog: tables over az:// are not supported in this version; use s3:// or gs://")
    if catalog.warehouse is None:
        raise ValueError(
            "catalog.warehouse is required when files are on an object store: a URL next to them, such as "
            f'"{sink.url.provider.value}://{sink.url.bucket}/warehouse"'
        )
    parse_url(catalog.warehouse)
