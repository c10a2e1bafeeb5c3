"""Small published files: real Parquet in a real manifest."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.data_file import DataFile
from app.publish.manifest import Manifest, Publication

DATE = "2026-11-22"


def data_file(
    workspace_id: int = 1, kind: Kind = Kind.EVENTS, number: int = 0, **changes: object
) -> DataFile:
    stem = kind.value if number == 0 else f"{kind.value}-{number:04d}"
    date = changes.get("date", DATE)
    facts: dict[str, object] = {
        "path": f"{workspace_id}/{date}/{stem}.parquet",
        "workspace_id": workspace_id,
        "date": date,
        "hour": None,
        "kind": kind,
        "number": number,
        "rows": 3,
        "bytes": 1000,
        "min_timestamp": 1_790_000_000_000,
        "max_timestamp": 1_790_000_000_002,
        "compression": "snappy",
        "created_at": f"{date}T10:00:00.000Z",
        "sealed": False,
        "first_lsn": 1,
        "last_lsn": 1,
    }
    return DataFile(**(facts | changes))


class Published:
    """A data folder and its manifest."""

    def __init__(self, directory: Path) -> None:
        self.data_path = directory / "parquet"
        self.data_path.mkdir(parents=True)
        self.manifest = Manifest.open(DurableFS(), directory / "manifest")
        self._commits = 0

    def publish(self, file: DataFile, rows: int = 3) -> bytes:
        """Put a Parquet file of `rows` rows in the place of `file`; return its bytes."""
        place = self.data_path / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        staged = place.with_suffix(".staged")
        table = pa.table({"number": np.arange(rows)})
        pq.write_table(table, staged, use_dictionary=False, compression="none")
        content = staged.read_bytes()
        staged.rename(place)
        self._commits += 1
        self.manifest.append(Publication(id=self._commits, files=[file]))
        return content
