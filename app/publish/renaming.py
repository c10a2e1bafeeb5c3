"""New names for files whose names are already taken."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TypeAlias

import msgspec

from app.parquet.data_file import DataFile
from app.parquet.location import Location, parse, relative_path
from app.publish.destination import Destination
from app.publish.staging_directory import Placement

NewNames: TypeAlias = Mapping[str, Location]
"""By the path that a file was meant to get."""


def free_names(destination: Destination, files: Iterable[DataFile], taken: Sequence[str]) -> NewNames:
    """Numbers behind all that are there for those of the files whose paths are taken. Raises OSError.

    A store that lost its journal, or that others write to under the same node id, has many at once: so the
    numbers are asked for, and not tried one by one.
    """
    numbers: defaultdict[Location, set[int]] = defaultdict(set)
    _note([file.path for file in files], numbers)
    for directory in {str(PurePosixPath(path).parent) for path in taken}:
        _note(destination.names(directory), numbers)
    found: dict[str, Location] = {}
    for path in taken:
        location = parse(path)
        if location is None:
            raise ValueError(f"{path} is not the path of a data file")
        used = numbers[location._replace(number=0)]
        found[path] = location._replace(number=max(used) + 1)
        used.add(found[path].number)
    return found


def _note(paths: Iterable[str], numbers: Mapping[Location, set[int]]) -> None:
    """Add the numbers of data files to those of their series, which is known by its first file."""
    for location in map(parse, paths):
        if location is not None:
            numbers[location._replace(number=0)].add(location.number)


def rename_files(files: Iterable[DataFile], names: NewNames) -> list[DataFile]:
    return [
        msgspec.structs.replace(file, path=relative_path(*new), number=new.number)
        if (new := names.get(file.path))
        else file
        for file in files
    ]


def rename_placements(placements: Iterable[Placement], names: NewNames) -> list[Placement]:
    return [
        msgspec.structs.replace(placement, path=relative_path(*new))
        if placement.root == "data" and (new := names.get(placement.path))
        else placement
        for placement in placements
    ]
