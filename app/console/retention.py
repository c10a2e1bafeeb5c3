"""What `parquet-sink retention` prints."""

from collections.abc import Sequence

from app.console.show import print_json, print_table, size_text
from app.parquet.data_file import DataFile


def show_would_go(files: Sequence[DataFile], *, as_json: bool) -> None:
    """The files that would be removed, the oldest first, and their sum."""
    if as_json:
        print_json(
            [
                {"path": file.path, "rows": file.rows, "bytes": file.bytes, "created_at": file.created_at}
                for file in files
            ]
        )
        return
    if not files:
        print("no file is old enough to be removed")
        return
    print_table(("path", "rows", "size"), [(file.path, file.rows, size_text(file.bytes)) for file in files])
    rows, size = sum(file.rows for file in files), sum(file.bytes for file in files)
    print(
        f"{len(files):,} files with {rows:,} rows, {size_text(size)}, would be removed; nothing was changed"
    )
