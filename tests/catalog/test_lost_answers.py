"""Commits whose outcome nobody knows, over a real SQL catalog: each file is in the table once."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import CommitTableResponse, Table

from app.catalog.policy import CatalogPolicy
from app.catalog.table import KindTable
from app.disk.durable_fs import DurableFS
from app.kinds import Kind
from app.parquet.data_file import DataFile
from app.parquet.layout import Layout
from app.publish.manifest import Manifest
from tests.support.catalog_service import CatalogService
from tests.support.payloads import event

COMMITS = 6
Commit = tuple[Table, tuple[Any, ...], tuple[Any, ...]]


class MoodyCatalog(SqlCatalog):
    """moods: what becomes of the next commits; afterwards all is well."""

    moods: list[str] = []  # noqa: RUF012
    late: list[Commit] = []  # noqa: RUF012
    before: Callable[[], None] = staticmethod(lambda: None)

    def commit_table(
        self, table: Table, requirements: tuple[Any, ...], updates: tuple[Any, ...]
    ) -> CommitTableResponse:
        mood = self.moods.pop(0) if self.moods else "well"
        if mood == "refused":
            raise ConnectionError("the request did not get through")
        if mood == "late":
            self.late.append((table, requirements, updates))
            raise TimeoutError("the request is on its way")
        while self.late:
            super().commit_table(*self.late.pop())
        if mood == "overtaken":
            self.before()
        answer = super().commit_table(table, requirements, updates)
        if mood == "lost":
            raise ConnectionError("the answer did not get through")
        return answer


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[DataFile]]:
    """Where files are, and what the manifest of a service knows of them that could never register one."""
    directory = tmp_path_factory.mktemp("published")
    (directory / "catalog").write_text("in the way")
    with CatalogService(directory, {"catalog": {"stop_timeout": "0s"}}) as service:
        service.start()
        for number in range(COMMITS):
            service.post_json("events", [event(number)])
            service.flush()
        assert service.terminate() == 0
    manifest = Manifest.open(DurableFS(), service.journal / "manifest")
    files = list(manifest.files())
    manifest.close()
    assert [file.commit for file in files] == list(range(1, COMMITS + 1))
    return service.parquet, files


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[MoodyCatalog]:
    catalog = MoodyCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/w")
    catalog.moods, catalog.late = [], []
    yield catalog
    catalog.close()


def table_of(catalog: SqlCatalog, root: Path, writer: str) -> KindTable:
    policy = CatalogPolicy(properties={}, root=f"file://{root}/")
    schema = Layout(for_tables=True).schema(Kind.EVENTS)
    return KindTable(catalog, policy, Kind.EVENTS, schema, writer, lambda seconds: None, lambda files: None)


def files_in(table: KindTable) -> Counter[str]:
    return Counter(task.file.file_path for task in table.load().scan().plan_files())


@pytest.mark.parametrize("mood", ["refused", "lost", "late"])
def test_a_commit_without_an_answer_is_there_once(
    catalog: MoodyCatalog, published: tuple[Path, list[DataFile]], mood: str
) -> None:
    root, files = published
    table = table_of(catalog, root, "a")
    for known in range(1, COMMITS + 1):
        catalog.moods = [mood]
        with pytest.raises(OSError, match=r"get through|on its way"):
            table.register(files[:known])
        assert table.register(files[:known]) == known
        assert files_in(table) == {f"file://{root}/{file.path}": 1 for file in files[:known]}


def test_a_commit_that_arrives_late_and_then_is_repeated_is_there_once(
    catalog: MoodyCatalog, published: tuple[Path, list[DataFile]]
) -> None:
    """Both that were late arrive when the third has read the table and is about to commit."""
    root, files = published
    table = table_of(catalog, root, "a")
    catalog.moods = ["late", "late"]
    for _ in range(2):
        with pytest.raises(TimeoutError):
            table.register(files)
    assert len(catalog.late) == 2

    assert table.register(files) == COMMITS

    assert catalog.late == []
    assert set(files_in(table).values()) == {1}
    assert len(files_in(table)) == COMMITS


def test_another_writer_in_between_costs_a_try_and_nothing_else(
    catalog: MoodyCatalog, published: tuple[Path, list[DataFile]]
) -> None:
    root, files = published
    ours, theirs = table_of(catalog, root, "a"), table_of(catalog, root, "b")
    half = COMMITS // 2
    ours.load()
    catalog.before = lambda: theirs.register(files[half:])  # type: ignore[method-assign]
    catalog.moods = ["overtaken"]

    assert ours.register(files[:half]) == half

    assert len(files_in(ours)) == COMMITS
    assert set(files_in(ours).values()) == {1}
    assert [ours.registered(ours.load()), theirs.registered(ours.load())] == [half, COMMITS]


def test_what_others_take_out_of_a_table_stays_out(
    catalog: MoodyCatalog, published: tuple[Path, list[DataFile]]
) -> None:
    root, files = published
    table = table_of(catalog, root, "a")
    table.register(files[:-1])
    table.load().delete("workspace_id = 1")
    assert files_in(table) == {}

    assert table.register(files) == COMMITS
    assert files_in(table) == {f"file://{root}/{files[-1].path}": 1}
