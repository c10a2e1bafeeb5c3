"""The output formats of answers."""

from typing import Final

FORMATS: Final = ("table", "csv", "json", "ndjson", "parquet", "arrow")
