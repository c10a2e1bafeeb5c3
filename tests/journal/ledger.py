"""What must be in a journal, kept without any of its code."""

from dataclasses import dataclass, field


@dataclass
class Ledger:
    """entries: acknowledged, or found by an earlier recovery, by LSN. in_doubt: payloads of the append that
    was under way, in order. trimmed: entries up to here may be gone. violations: what was not as promised.
    """

    entries: dict[int, bytes] = field(default_factory=dict)
    in_doubt: list[bytes] = field(default_factory=list)
    trimmed: int = 0
    highest: int = 0
    violations: list[str] = field(default_factory=list)

    def acknowledge(self, first_lsn: int) -> None:
        if first_lsn <= self.highest:
            self.violations.append(f"LSN {first_lsn} used again; {self.highest} was in use")
        for lsn, payload in enumerate(self.in_doubt, first_lsn):
            self.entries[lsn] = payload
            self.highest = lsn
        self.in_doubt = []

    def check(self, found: list[tuple[int, bytes]]) -> None:
        """Compare with what a recovered journal yields, and take over what was in doubt."""
        lsns = [lsn for lsn, _ in found]
        if lsns != sorted(set(lsns)):
            self.violations.append(f"LSNs out of order: {lsns}")
        there = dict(found)
        for lsn, payload in self.entries.items():
            if lsn > self.trimmed and lsn not in there:
                self.violations.append(f"acknowledged LSN {lsn} is missing")
            elif there.get(lsn, payload) != payload:
                self.violations.append(f"LSN {lsn} has another payload")
        strangers = [(lsn, payload) for lsn, payload in found if lsn not in self.entries]
        if [payload for _, payload in strangers] != self.in_doubt[: len(strangers)]:
            self.violations.append(f"entries that nobody appended: {[lsn for lsn, _ in strangers]}")
        if strangers and strangers[0][0] <= self.highest:
            self.violations.append(f"LSN {strangers[0][0]} in doubt is not behind {self.highest}")
        self.entries.update(strangers)
        self.highest = max([self.highest, *self.entries])
        self.in_doubt = []
