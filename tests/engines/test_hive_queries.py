"""The same questions of files in hive's folders."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.parquet.location import Folders, parse, relative_path
from tests.engines.answers import ANSWERS, Rows, one_day
from tests.engines.test_documented_queries import LIGHT, QUERIES, RUNNERS, as_plain
from tests.support.service import REPOSITORY

HIVE = dict(
    re.findall(
        r"^```(?:sql|python) hive-(\S+)\n(.*?)^```$",
        (REPOSITORY / "docs" / "queries.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
)


@pytest.fixture(scope="module")
def hive_warehouse(warehouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service's files under the names that they have in the other layout."""
    root = tmp_path_factory.mktemp("hive")
    for path in (warehouse / "parquet").glob("**/*.parquet"):
        location = parse(path.relative_to(warehouse / "parquet").as_posix())
        assert location is not None
        copy = root / "parquet" / relative_path(*location._replace(folders=Folders.HIVE))
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return root


@pytest.fixture
def in_hive_warehouse(hive_warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(hive_warehouse)
    return hive_warehouse


def in_hive_folders(text: str) -> str:
    text = re.sub(r"parquet/(\d+)/", r"parquet/workspace=\1/", text)
    return re.sub(r"/(\d{4}-\d\d-\d\d)/", r"/date=\1/", text)


@pytest.mark.parametrize("name", LIGHT)
def test_each_documented_query_has_its_hive_form(in_hive_warehouse: Path, name: str) -> None:
    run: Callable[[str], Rows] = RUNNERS[name.partition("-")[0]]
    assert as_plain(run(in_hive_folders(QUERIES[name]))) == as_plain(ANSWERS[name]())


def test_every_engine_has_a_query_of_its_own() -> None:
    assert {name.partition("-")[0] for name in HIVE} == set(RUNNERS)


@pytest.mark.parametrize("name", sorted(HIVE))
def test_engines_make_columns_of_the_folders(in_hive_warehouse: Path, name: str) -> None:
    assert as_plain(RUNNERS[name.partition("-")[0]](HIVE[name])) == as_plain(one_day())
