"""A catalog's metadata in a local directory, durable before anything refers to it."""

from pathlib import Path
from types import TracebackType
from typing import Self

from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from app.disk.durable_fs import DurableFS


class DurableFileIO(PyArrowFileIO):
    """Set in the property `py-io-impl`. Object stores are durable by themselves."""

    def new_output(self, location: str) -> PyArrowFile:
        plain = super().new_output(location)
        scheme, _, path = self.parse_location(location, self.properties)
        if scheme != "file":
            return plain
        return _DurableFile(location, path, plain._filesystem, plain._buffer_size)


class _DurableFile(PyArrowFile):
    def create(self, overwrite: bool = False) -> OutputStream:
        fs, path = DurableFS(), Path(self._path)
        fs.make_directories([path.parent])
        return _SyncedStream(super().create(overwrite), fs, path)


class _SyncedStream:
    """An `OutputStream` whose file, and its name, are on stable storage when `close` returns."""

    def __init__(self, stream: OutputStream, fs: DurableFS, path: Path) -> None:
        self._stream = stream
        self._fs = fs
        self._path = path
        self._closed = False

    def write(self, b: bytes) -> int:
        return self._stream.write(b)

    def tell(self) -> int:
        return self._stream.tell()

    def flush(self) -> None: ...

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._stream.close()
        self._fs.sync_file(self._path)
        self._fs.sync_directory(self._path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exctype: type[BaseException] | None,
        excinst: BaseException | None,
        exctb: TracebackType | None,
    ) -> None:
        self.close()
