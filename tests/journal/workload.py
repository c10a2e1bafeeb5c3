"""Random use of a journal, as one process after another would make it."""

import random
from pathlib import Path

from app.disk.durable_fs import DurableFS
from app.journal.failures import JournalFull
from app.journal.journal import Journal
from app.journal.policy import JournalPolicy
from tests.journal.ledger import Ledger

DIRECTORY = Path("/data/journal")
SMALL = JournalPolicy(segment_bytes=700)
SIZES = (0, 1, 7, 8, 40, 300, 1700)


def entries(journal: Journal, after_lsn: int = 0) -> list[tuple[int, bytes]]:
    return [(entry.lsn, bytes(entry.payload)) for entry in journal.read(after_lsn)]


def append(journal: Journal, ledger: Ledger, payloads: list[bytes]) -> None:
    ledger.in_doubt = payloads
    try:
        appended = journal.append([[payload[:3], payload[3:]] for payload in payloads])
    except JournalFull:
        ledger.in_doubt = []
    else:
        ledger.acknowledge(appended.first_lsn)


def live(
    fs: DurableFS, ledger: Ledger, rng: random.Random, steps: int, policy: JournalPolicy = SMALL
) -> None:
    """One process: recover, compare with the ledger, then work; it may end with or without a close."""
    journal = Journal.open(fs, DIRECTORY, policy, known_lsn=ledger.highest)
    ledger.check(entries(journal))
    for _ in range(steps):
        match rng.choices(("append", "mark", "trim", "roll"), (8, 2, 2, 1))[0]:
            case "append":
                append(journal, ledger, [rng.randbytes(rng.choice(SIZES)) for _ in range(rng.randint(1, 4))])
            case "mark":
                journal.mark()
            case "trim":
                ledger.trimmed = max(ledger.trimmed, rng.randint(journal.first_lsn, journal.last_lsn))
                journal.trim(ledger.trimmed)
            case "roll":
                journal.roll()
    if rng.random() < 0.5:
        journal.close()
