"""A name is given once, whole and durably: in a directory and in a bucket."""

import os
import random
import threading
from pathlib import Path

import pytest

from app.disk.durable_fs import DurableFS
from app.kafka.shared_place import TEMPORARY, SharedBucket, SharedDirectory, SharedPlace
from tests.support.simulated_disk import SimulatedDisk, SimulatedFS
from tests.support.simulated_store import SimulatedStore

ROOT = Path("/lake")


def directory() -> SharedPlace:
    return SharedDirectory(SimulatedDisk().mount(), ROOT)


def bucket() -> SharedPlace:
    return SharedBucket(SimulatedStore({}, SimulatedDisk().mount()))


@pytest.mark.parametrize("place", [directory(), bucket()], ids=["directory", "bucket"])
def test_the_first_one_gets_the_name(place: SharedPlace) -> None:
    assert place.size("a/b") is None
    assert place.create("a/b", b"first")
    assert place.create("a/b", b"first"), "the answer was lost, perhaps"
    assert not place.create("a/b", b"second")
    place.create_all([("a/b", b"third"), ("a/c", b"other")])

    assert place.read("a/b") == b"first"
    assert place.size("a/c") == 5
    assert sorted(place.names("a")) == ["b", "c"]
    assert place.names("nothing") == []
    place.remove("a/b")
    place.remove("a/b")
    assert place.names("a") == ["c"]
    with pytest.raises(FileNotFoundError):
        place.read("a/b")


@pytest.mark.parametrize("seed", range(10))
def test_what_was_created_survives_a_power_cut_whole(seed: int) -> None:
    disk = SimulatedDisk()
    place = SharedDirectory(disk.mount(), ROOT)
    place.create("a/entry", b"entry")
    place.create_all([(f"a/{number}", b"%d" % number) for number in range(5)])
    cut = SharedDirectory(disk.after_power_loss(random.Random(seed)).mount(), ROOT)

    assert cut.read("a/entry") == b"entry"
    assert [cut.read(f"a/{number}") for number in range(5)] == [b"%d" % number for number in range(5)]


def test_a_file_that_another_one_created_is_durable_for_whoever_meets_it() -> None:
    disk = SimulatedDisk()

    class Sleeper(SimulatedFS):
        """Gives the name, and sleeps before it makes that durable."""

        def link(self, source: Path, destination: Path) -> None:
            super().link(source, destination)
            other = SharedDirectory(disk.mount(), ROOT)
            assert not other.create("a/entry", b"second")
            cut = SharedDirectory(disk.after_power_loss(random.Random(1)).mount(), ROOT)
            assert cut.read("a/entry") == b"first"

    SharedDirectory(Sleeper(disk), ROOT).create("a/entry", b"first")


def test_of_many_that_create_a_name_at_once_one_gets_it(tmp_path: Path) -> None:
    won: list[int] = []
    barrier = threading.Barrier(8)

    def create(number: int) -> None:
        place = SharedDirectory(DurableFS(), tmp_path)
        barrier.wait()
        if place.create("a/entry", b"%d" % number):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [b"%d" % number for number in won] == [SharedDirectory(DurableFS(), tmp_path).read("a/entry")]
    assert list((tmp_path / TEMPORARY).iterdir()) == []


def test_what_a_process_left_behind_is_removed_when_it_is_old(tmp_path: Path) -> None:
    (tmp_path / TEMPORARY).mkdir(parents=True)
    for name, age_s in (("old", 7200), ("new", 10)):
        file = tmp_path / TEMPORARY / name
        file.write_bytes(b"")
        os.utime(file, (1_000_000 - age_s, 1_000_000 - age_s))

    SharedDirectory(DurableFS(), tmp_path).tidy(1_000_000_000)

    assert [file.name for file in (tmp_path / TEMPORARY).iterdir()] == ["new"]
