"""The service with its files on an object store. Tests read them from a copy below `parquet`."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs

from app.kinds import Kind
from tests.support.s3_server import ACCESS_KEY, BUCKET, REGION, SECRET_KEY
from tests.support.service import Config, Service


class BucketService(Service):
    """endpoint: of the S3 server, or of what stands before it. prefix: of its own, if none is given.

    server: where the tests themselves read, past what stands before it.
    """

    def __init__(
        self,
        directory: Path,
        config: Config | None = None,
        clock: str | None = None,
        *,
        endpoint: str,
        server: str | None = None,
        prefix: str | None = None,
    ) -> None:
        self.prefix = prefix or f"test/{uuid.uuid4()}"
        self._reading = pyarrow.fs.S3FileSystem(
            endpoint_override=server or endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY, region=REGION
        )
        self._known: dict[str, tuple[int, int]] = {}
        sections: dict[str, Any] = {
            name: values if isinstance(values, list) else dict(values)
            for name, values in (config or {}).items()
        }
        sections.setdefault("sinks.parquet", {})["path"] = f"s3://{BUCKET}/{self.prefix}"
        store = {"endpoint": endpoint, "region": REGION}
        sections["sinks.parquet.store"] = {**store, **sections.get("sinks.parquet.store", {})}
        super().__init__(directory, sections, clock)

    def data_files(self, kind: Kind | str = "", workspace: int | str = "*") -> list[Path]:
        """In the order in which they were written: the first has no number."""
        self.fetch()
        return sorted(super().data_files(kind, workspace), key=lambda path: (path.parent, path.stem))

    def fetch(self) -> None:
        """Make the copy what the bucket is now. An object that has changed meanwhile is an error."""
        found = dict(self._objects())
        for path in self._known.keys() - found.keys():
            (self.parquet / path).unlink()
        for path, version in found.items():
            assert self._known.get(path, version) == version, f"{path} was replaced: {version}"
            if path not in self._known:
                copy = self.parquet / path
                copy.parent.mkdir(parents=True, exist_ok=True)
                with self._reading.open_input_file(f"{BUCKET}/{self.prefix}/{path}") as file:
                    copy.write_bytes(file.read())
        self._known = found

    def _objects(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Path, and size and time of change, of each object."""
        root = f"{BUCKET}/{self.prefix}"
        selector = pyarrow.fs.FileSelector(root, recursive=True, allow_not_found=True)
        for info in self._reading.get_file_info(selector):
            if info.is_file:
                yield info.path.removeprefix(f"{root}/"), (info.size, info.mtime_ns)
