"""The named fenced blocks of the documents: ```sql duckdb-one-day … ```."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.support.service import REPOSITORY

DOCUMENTS: Final = (REPOSITORY / "docs" / "queries.md", REPOSITORY / "README.md")
ENGINES: Final = ("duckdb", "pyarrow", "polars", "clickhouse", "spark")
_BLOCK: Final = re.compile(r"^```(?:sql|python) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def documented_queries() -> Mapping[str, str]:
    """Query text by name, for names that begin with an engine's. A name stands for one text only."""
    found: dict[str, str] = {}
    for document in DOCUMENTS:
        for name, text in _BLOCK.findall(document.read_text()):
            if name.partition("-")[0] in ENGINES:
                assert found.setdefault(name, text) == text, f"{document.name}: {name} stands there twice"
    return found


def version_rows(document: Path) -> dict[str, str]:
    """The lines `| engine | 1.2.3 |` of a document's table of engines, as version by engine."""
    row = re.compile(r"^\| *([A-Za-z][\w ()]*?) *\| *(\d+\.\d+[\w.]*) *\|", re.MULTILINE)
    return dict(row.findall(document.read_text()))
