"""The forms in which an answer is given."""

from typing import Final

FORMATS: Final = ("table", "csv", "json", "ndjson", "parquet", "arrow")
