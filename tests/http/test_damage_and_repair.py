"""A damaged journal refuses the start and says what is affected; `parquet-sink repair` keeps the rest."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.payloads import event, numbers
from tests.support.service import REPOSITORY, Service

CONFIG = {"sinks.parquet": {"flush_interval": "3600s"}}
LOST = 4
FAILED = 3


def repair(service: Service) -> "subprocess.CompletedProcess[str]":
    config = service.directory / "parquet-sink.toml"
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "repair", "--config", str(config)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def segments(service: Service) -> list[Path]:
    """Those with entries, oldest first: a first frame alone takes 72 bytes."""
    found = sorted((service.journal / "segments").glob("*.segment"))
    return [path for path in found if path.stat().st_size > 72]


def damage_frame(path: Path, number: int) -> int:
    """Flips a bit in the last byte of the payload of this frame; returns the frame's offset."""
    data = bytearray(path.read_bytes())
    offsets = [found.start() for found in re.finditer(b"PSJ1", data) if found.start() % 8 == 0]
    offset = offsets[number]
    length = int.from_bytes(data[offset + 8 : offset + 12], "little")
    data[offset + 48 + length - 1] ^= 1
    path.write_bytes(data)
    return offset


def refused_start(service: Service) -> str:
    """What the service says when it ends by itself."""
    said = len(service.stderr)
    assert service.launch().wait(30) == FAILED, service.stderr
    return service.stderr[said:]


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Service]:
    """Row 0 is in a file, rows 1 to 4 are in the journal alone, each in a frame of its own."""
    with Service(tmp_path, CONFIG) as service:
        service.start()
        service.post_json("events", [event(0)], wait="file")
        for number in range(1, 5):
            service.post_json("events", [event(number)])
        service.kill9()
        yield service
        assert "Traceback" not in service.stderr, service.stderr


def test_damage_in_the_middle_is_named_and_repaired_and_the_rest_is_kept(killed: Service) -> None:
    (segment,) = segments(killed)
    offset = damage_frame(segment, 3)  # the segment's own, row 0, row 1, row 2

    said = refused_start(killed)
    named = re.search(rf"{segment.name} at offset {offset}: .*\(LSN (\d+) to (\d+) affected\)", said)
    assert named, said
    assert named[1] == named[2]
    assert "parquet-sink repair" in said
    assert refused_start(killed).count(segment.name), "a refused start changes nothing"

    done = repair(killed)
    assert done.returncode == LOST, done.stderr
    assert f"{segment.name} at offset {offset}" in done.stdout
    assert f"LSN {named[1]} to {named[2]}" in done.stdout
    aside = killed.journal / "segments" / "aside"
    assert [path.name for path in aside.iterdir()] == [f"damaged-{segment.stem}-{offset}"]

    assert repair(killed).returncode == 0, "a second repair finds nothing"
    killed.start()
    killed.post_json("events", [event(5)])
    killed.flush()
    assert sorted(numbers(killed.table())) == [0, 1, 3, 4, 5]
    killed.restart()
    assert sorted(numbers(killed.table())) == [0, 1, 3, 4, 5]


def test_a_journal_that_was_emptied_is_noticed_by_the_manifest(killed: Service) -> None:
    for path in (killed.journal / "segments").iterdir():
        path.unlink()

    assert "the journal ends before an LSN that is known" in refused_start(killed)
    assert repair(killed).returncode == LOST
    killed.start()
    killed.post_json("events", [event(5)])
    killed.flush()
    assert sorted(numbers(killed.table())) == [0, 5]


def test_a_sound_journal_is_left_as_it_is(killed: Service) -> None:
    before = {path: path.read_bytes() for path in segments(killed)}
    done = repair(killed)
    assert done.returncode == 0, done.stderr
    assert "is intact" in done.stdout
    assert {path: path.read_bytes() for path in segments(killed)} == before
    killed.start()
    killed.flush()
    assert sorted(numbers(killed.table())) == [0, 1, 2, 3, 4]


def test_a_running_service_is_not_repaired(own_service: Service) -> None:
    done = repair(own_service)
    assert done.returncode == 1
    assert f"in use by process {own_service.process.pid}" in done.stderr


def test_repairing_where_nothing_is_changes_nothing(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        done = repair(service)
    assert done.returncode == 1
    assert "does not exist" in done.stderr
    assert not service.journal.exists()
    assert not service.parquet.exists()


@pytest.mark.parametrize("mode", ["write", "memory"])
@pytest.mark.parametrize("gone", ["tail", "all"])
def test_without_syncs_rows_are_taken_again_after_the_journal_has_lost_its_end(
    tmp_path: Path, mode: str, gone: str
) -> None:
    with Service(tmp_path, {**CONFIG, "journal": {"acknowledge": mode}}) as service:
        service.start()
        for number in range(3):
            service.post_json("events", [event(number)], wait="file")
        service.kill9()
        for path in sorted((service.journal / "segments").iterdir()):
            if gone == "all":
                path.unlink()
            elif path.suffix == ".segment":
                path.write_bytes(path.read_bytes()[:72])  # what was synced when it was made
        service.start()
        if gone == "all" or mode == "write":
            assert "the journal has lost LSN" in service.stderr
        for number in range(3, 6):
            service.post_json("events", [event(number)])
        service.restart()
        assert sorted(numbers(service.table())) == list(range(6))
        assert "Traceback" not in service.stderr, service.stderr
