"""The engines' versions in the documents are those that the tests ran with."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.engines.documented_queries import DOCUMENTS, version_rows
from tests.support.service import REPOSITORY

PACKAGES = {"DuckDB": "duckdb", "PyArrow": "pyarrow", "Polars": "polars", "ClickHouse (chDB)": "chdb"}


def locked(package: str, lock: str) -> str:
    (found,) = re.findall(rf"^{package}==(\S+)", (REPOSITORY / lock).read_text(), re.MULTILINE)
    return str(found)


def versions() -> dict[str, str]:
    """Version by the engine's name in the documents: installed and locked are the same."""
    for package in PACKAGES.values():
        assert version(package) == locked(package, "requirements-test.lock")
    return {
        **{engine: version(package) for engine, package in PACKAGES.items()},
        "Spark": locked("pyspark", "requirements-heavy.lock"),
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_versions_in_the_document_are_those_that_are_tested(document: Path) -> None:
    named = version_rows(document)
    actual = versions()

    if document == DOCUMENTS[0]:
        assert set(named) == set(actual), "the table names every engine"
    assert {engine: actual[engine] for engine in named if engine in actual} == {
        engine: number for engine, number in named.items() if engine in actual
    }
