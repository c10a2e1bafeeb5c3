"""The service with an Iceberg catalog, and its tables as pyiceberg alone reads them."""

from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.table import Table

from app.schema import Kind
from tests.support.bucket_service import BucketService
from tests.support.s3_server import BUCKET, REGION
from tests.support.service import Config, NewService, Service

REGISTERED_SECONDS_MAX: Final = 30.0
NAMESPACE: Final = "parquet_sink"


class Tables:
    """The tables of a SQL catalog in a file, wherever the data is."""

    def __init__(self, directory: Path, endpoint: str | None = None) -> None:
        self.uri = f"sqlite:///{directory / 'catalog.db'}"
        s3 = {} if endpoint is None else {"s3.endpoint": endpoint, "s3.region": REGION}
        self._properties = {"uri": self.uri, "warehouse": f"file://{directory / 'warehouse'}", **s3}

    def catalog(self) -> Catalog:
        return load_catalog("lake", type="sql", **self._properties)

    def load(self, kind: Kind | str) -> Table:
        return self.catalog().load_table((NAMESPACE, str(kind)))

    def rows(self, kind: Kind | str = Kind.EVENTS, snapshot: int | None = None) -> pa.Table:
        return self.load(kind).scan(snapshot_id=snapshot).to_arrow()

    def files(self, kind: Kind | str = Kind.EVENTS) -> list[str]:
        """URLs of the data files that the table has now, one for each time that it has one."""
        return [task.file.file_path for task in self.load(kind).scan().plan_files()]


def with_catalog(directory: Path, config: Config | None, **catalog: Any) -> dict[str, dict[str, Any]]:
    """Sections that turn the embedded catalog on, registering all the time."""
    sections: dict[str, dict[str, Any]] = {name: dict(values) for name, values in (config or {}).items()}
    own = {"type": "iceberg", "path": str(directory / "catalog"), "commit_interval": "100ms", **catalog}
    sections["catalog"] = {**own, **sections.get("catalog", {})}
    return sections


def catalog_service(directory: Path, config: Config | None = None, clock: str | None = None) -> Service:
    """With files in a directory."""
    return Service(directory, with_catalog(directory, config), clock)


def bucket_catalog_service(endpoint: str) -> NewService:
    """With files in a bucket, and the tables' metadata there, too."""

    def new(directory: Path, config: Config | None = None, clock: str | None = None) -> Service:
        sections = with_catalog(directory, config, warehouse=f"s3://{BUCKET}/warehouse")
        return BucketService(directory, sections, clock, endpoint=endpoint)

    return new


def wait_until_registered(service: Service) -> None:
    """Until every published file is in a table."""

    def registered() -> bool:
        catalog = service.status()["catalog"]
        return catalog["lag"]["files"] == 0 and None not in catalog["registered_commit"].values()

    service.wait_until(registered, REGISTERED_SECONDS_MAX)
