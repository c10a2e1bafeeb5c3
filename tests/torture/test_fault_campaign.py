"""The campaign at its size for every change, and that it notices faults; `make torture-faults` is larger."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.torture.fault_campaign import campaign, campaign_over_a_bucket, campaign_with_tables
from tests.torture.fault_oracle import Told, judge
from tests.torture.fault_scene import Scene
from tests.torture.harm import Harm
from tests.torture.ledger import Batch, Outcome
from tests.torture.world_faults import FAULTS, Fault

ROUNDS = 50
ROUNDS_OVER_A_BUCKET = 15
ROUNDS_WITH_TABLES = 6
SEED = 20_261_128


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_what_happens_to_the_world_around_it_harms_nothing_else(tmp_path: Path) -> None:
    result = campaign(ROUNDS, SEED, tmp_path)
    print(result)
    assert result.violations == []
    assert result.passed, "a run in which the fault did not fire is a failure"
    assert result.fired.keys() == FAULTS.keys()
    assert result.kills > ROUNDS // 2
    assert result.lost_rows > 0


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_a_manifest_that_is_gone_or_older_doubles_no_object(tmp_path: Path) -> None:
    result = campaign_over_a_bucket(ROUNDS_OVER_A_BUCKET, SEED, tmp_path)
    print(result)
    assert result.passed, result.violations


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_a_promotion_that_changes_leaves_no_row_out_of_its_table(tmp_path: Path) -> None:
    result = campaign_with_tables(ROUNDS_WITH_TABLES, SEED, tmp_path)
    print(result)
    assert result.passed, result.violations


def a_row_doubled(scene: Scene) -> bool:
    """By a copy of a file, as a publish would leave it that is done twice."""
    path = scene.data / scene.whole_files()[0]
    shutil.copy(path, path.with_name("events-0077.parquet"))
    return True


def a_file_removed_by_the_service(scene: Scene) -> bool:
    (scene.data / scene.whole_files()[0]).unlink()
    return True


def a_record_of_lost_rows_forgotten(scene: Scene) -> bool:
    """The manifest does not say any more what it said of a file that is gone."""
    before = set(scene.destroyed)
    FAULTS["file removed, down"](scene)
    scene.flush()
    scene.stop()
    (gone,) = scene.destroyed.keys() - before
    lines = scene.manifest.read_bytes().splitlines(keepends=True)
    scene.manifest.write_bytes(b"".join(line for line in lines if gone.encode() not in line))
    return True


@pytest.mark.heavy
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (a_row_doubled, "a row stands 2 times"),
        (a_file_removed_by_the_service, "rows are missing"),
        (a_record_of_lost_rows_forgotten, "of its rows are gone, and 0 are said to be"),
    ],
)
def test_the_campaign_notices(tmp_path: Path, planted: Fault, said: str) -> None:
    """Three rounds: what is planted may be made good by what happens by chance."""
    result = campaign(3, SEED, tmp_path, {"planted": planted})
    assert any(said in violation for violation in result.violations), result.violations


FILE = "1/2026-11-28/events.parquet"
NEXT = "1/2026-11-28/events-0001.parquet"
HARMED = Harm(FILE, "removed", was_growing=True, taken={1, 2}, starts=1)


def told(lost: dict[str, int] | None = None, state: str = "published") -> Told:
    lost = lost or {}
    return Told({FILE: {"state": state, "rows": 2}}, lost, [], sum(lost.values()))


@pytest.mark.parametrize(
    ("rows", "harm", "said", "expected"),
    [
        ([1, 2], None, told(), None),
        ([1], None, told(), "acknowledged, and 1 rows are missing"),
        ([1, 2, 2], None, told(), "a row stands 2 times"),
        ([1, 2, 3], None, told(), "a row nobody sent"),
        ([], HARMED, told({FILE: 2}), None),
        ([], HARMED, told(), "2 of its rows are gone, and 0 are said to be"),
        ([], HARMED, told(state="changed"), "2 of its rows are gone, and 0 are said to be"),
        ([2], HARMED, told({FILE: 2}), "1 of its rows are gone, and 2 are said to be"),
        ([1, 2], HARMED, told({FILE: 2}), "0 of its rows are gone, and 2 are said to be"),
    ],
)
def test_what_is_missing_must_be_said(
    rows: list[int], harm: Harm | None, said: Told, expected: str | None
) -> None:
    batch = Batch(1, 2, "events", 1, outcome=Outcome.ACCEPTED, status=202)
    found = {NEXT: Counter(("events", 1, number) for number in rows)}
    wrong = judge([batch], found, [harm] if harm else [], set(), said)
    assert len(wrong) == (expected is not None), wrong
    assert expected is None or expected in wrong[0]


def test_rows_that_the_journal_had_must_be_there_whatever_is_said() -> None:
    batch = Batch(1, 2, "events", 1, outcome=Outcome.ACCEPTED, status=202)
    harm = Harm(FILE, "removed", was_growing=True, taken={1, 2}, starts=1, must_return={2})
    (wrong,) = judge([batch], {}, [harm], set(), told({FILE: 2}))
    assert "1 of its rows were in the journal, and are in no file" in wrong
