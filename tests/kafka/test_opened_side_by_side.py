"""Partitions are opened by threads of one process, at once, as the first thing that it decodes."""

import subprocess
import sys
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]

FIRST_USE: Final = """
import sys, threading
import msgspec
from app.commit.batch_ids import DeduplicationPolicy, DeduplicationWindow
from app.kafka.publication_log import read_checkpoint, read_entry
from app.kafka.entry import Checkpoint, PublicationEntry

class Place:
    def read(self, path):
        return b'{"number":1,"writer":"w","start":0,"to":5,"files":[],"batches":[],"dropped":[]}'

def first():
    barrier.wait()
    read_entry(Place(), "a", 1)
    read_checkpoint(Place(), "a", 1)
    DeduplicationWindow(DeduplicationPolicy()).load(msgspec.msgpack.encode({"through_lsn": 0, "batches": []}))
    done.append(1)

sys.setswitchinterval(1e-6)
barrier, done = threading.Barrier(8), []
threads = [threading.Thread(target=first) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
sys.exit(len(done) != 8)
"""


def test_the_first_decoding_may_be_done_by_several_threads() -> None:
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", FIRST_USE], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
