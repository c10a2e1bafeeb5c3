"""Paths of the files that publishing keeps besides data files."""

from pathlib import Path
from typing import Final

import msgspec

from app.disk.durable_fs import DurableFS

STAGING_BESIDE_DATA: Final = ".staging"


class SinkPaths(msgspec.Struct, frozen=True):
    """data: `{path}`, where engines read; None where files go to an object store.

    state: `[journal] path`, never below `data`.
    """

    data: Path | None
    state: Path

    @property
    def segments(self) -> Path:
        """The journal itself; nothing here looks into it."""
        return self.state / "segments"

    @property
    def manifest(self) -> Path:
        return self.state / "manifest"

    @property
    def placings(self) -> Path:
        return self.state / "placings"

    @property
    def identity(self) -> Path:
        return self.state / "identity"

    @property
    def intent(self) -> Path:
        return self.state / "publish-intent"

    @property
    def quarantine(self) -> Path:
        return self.state / "quarantine"

    @property
    def staging_places(self) -> tuple[Path, ...]:
        """The places where staged files can be, as the file systems were when they were written."""
        beside_state = self.state / "staging"
        return (beside_state,) if self.data is None else (beside_state, self.data / STAGING_BESIDE_DATA)

    def staging(self, fs: DurableFS) -> Path:
        """Where to stage: a rename from there to `data` is possible."""
        beside_state, *beside_data = self.staging_places
        if self.data is None or fs.same_file_system(self.data, self.state):
            return beside_state
        return beside_data[0]
