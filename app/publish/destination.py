"""The seam to the place of published files: a local directory or an object store."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from app.parquet.facts import FileFacts
from app.publish.reconcile import Listing
from app.publish.removed_files import Leaving
from app.publish.staging_directory import Placement


class NamesTaken(Exception):
    """Foreign files have these paths, and are left alone. Not an OSError: retrying does not help."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(f"names that are already taken: {', '.join(paths)}")
        self.paths = paths


class NotPlaced(OSError):
    """Some files could not be given their names; the others have theirs. errors: by path."""

    def __init__(self, errors: Mapping[str, OSError]) -> None:
        path, first = next(iter(errors.items()))
        super().__init__(first.errno, first.strerror or str(first), path)
        self.errors = errors


class Destination(Protocol):
    """Where data files are placed, by their posix paths. Used by the writer thread, and at a start.

    Everything raises OSError when it may be tried again, and SyncFailed when it may not.
    """

    @property
    def grows_in(self) -> Path | None:
        """The directory in which the next version of a file takes the place of the one before.

        None: a file never changes, and is sealed at once; what is staged is copied and not moved.
        """
        ...

    def prepare(self) -> None:
        """Make what must be there before the first file."""
        ...

    def is_taken(self, path: str) -> bool:
        """Whether a file has this name, as far as that can be told without placing one."""
        ...

    def names(self, directory: str) -> Iterable[str]:
        """Paths of all files directly in a directory, including foreign ones."""
        ...

    def place(
        self, placements: Sequence[Placement], staged: Callable[[Placement], Path], placed: set[str]
    ) -> None:
        """Give each staged file its name, durably. `placed`: those that have it; it gets more.

        staged: where a file stands now. Raises NamesTaken when others have some of the names; NotPlaced when
        it went well for some files only.
        """
        ...

    def holds(self, placement: Placement) -> bool:
        """Whether this very file has its name."""
        ...

    def undo(self, placement: Placement, scratch: Path) -> None:
        """Bring back what was there before, if `holds` the file. scratch: a name in the staging directory."""
        ...

    def delete(self, files: Sequence[Leaving]) -> Sequence[str]:
        """Delete files of one partition, durably, and the directories that are empty then; those that are
        there no more are done. Return the paths of files that have other bytes, and are left."""
        ...

    def listing(self, thorough: bool) -> Listing | None:
        """Every file that is there. None where that is not affordable, unless it must be: `thorough`."""
        ...

    def facts(self, path: str) -> FileFacts | None:
        """What the file says of itself; None where that cannot be read."""
        ...
