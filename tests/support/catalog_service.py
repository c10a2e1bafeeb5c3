"""The service with an Iceberg catalog, and its tables as pyiceberg alone reads them."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.table import Table

from app.kinds import Kind
from tests.support.s3_server import REGION
from tests.support.service import Config, Service
from tests.torture.ledger import MARK, Batch
from tests.torture.oracle import compare

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
    sections: dict[str, Any] = {
        name: values if isinstance(values, list) else dict(values) for name, values in (config or {}).items()
    }
    own = {"type": "iceberg", "path": str(directory / "catalog"), "commit_interval": "100ms", **catalog}
    sections["catalog"] = {**own, **sections.get("catalog", {})}
    return sections


class CatalogService(Service):
    """With files in a directory."""

    def __init__(self, directory: Path, config: Config | None = None, clock: str | None = None) -> None:
        super().__init__(directory, with_catalog(directory, config), clock)
        self.tables = Tables(directory / "catalog")

    def data_files(self, kind: Kind | str = "", workspace: int | str = "*") -> list[Path]:
        """In the order in which they were written: the first has no number."""
        return sorted(super().data_files(kind, workspace), key=lambda path: (path.parent, path.stem))


def wait_until_registered(service: Service) -> None:
    """Until every published file is in a table."""

    def registered() -> bool:
        catalog = service.status()["catalog"]
        return catalog["lag"]["files"] == 0 and None not in catalog["registered_commit"].values()

    service.wait_until(registered, REGISTERED_SECONDS_MAX)


def rows_in_tables(tables: Tables) -> Iterator[tuple[str, int, int]]:
    """(kind, workspace, row number) of every row that the tables have."""
    for kind in Kind:
        rows = tables.load(kind).scan(selected_fields=("workspace_id", "payload")).to_arrow()
        workspaces, payloads = rows["workspace_id"].to_pylist(), rows["payload"].to_pylist()
        for workspace, payload in zip(workspaces, payloads, strict=True):
            yield kind.value, workspace, json.loads(payload)[MARK]


def table_violations(batches: Sequence[Batch], tables: Tables) -> list[str]:
    """What is wrong with the tables, in words; nothing when every promise was kept."""
    wrong = [f"in a table: {each}" for each in compare(batches, Counter(rows_in_tables(tables)))]
    files = [file for kind in Kind for file in tables.files(kind)]
    twice = [file for file, count in Counter(files).items() if count > 1]
    return wrong + [f"a table has {file} twice" for file in twice]
