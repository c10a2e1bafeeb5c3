"""How long files are kept. Pure: files and a time in, partitions whose files must be removed out."""

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from app.kinds import Kind
from app.parquet.data_file import DataFile, FileState
from app.parquet.partition import Partition


class RetentionRule(msgspec.Struct, frozen=True):
    """workspace_id, kind: whose files; None: of all that have no rule of their own. age_ms: from the end of a
    partition's time on."""

    workspace_id: int | None
    kind: Kind | None
    age_ms: int


class RetentionPolicy(msgspec.Struct, frozen=True):
    """rules: at most one a workspace and kind. interval_ms: between two looks. files_per_turn: removed
    together, so that publishing does not wait long."""

    rules: tuple[RetentionRule, ...] = ()
    interval_ms: int = 60_000
    files_per_turn: int = 500

    def age_ms(self, workspace_id: int, kind: Kind) -> int | None:
        """How long files of a workspace and kind are kept, None for forever: a rule for the workspace takes
        precedence over one for all, then one for the kind over one for all kinds."""
        by_whom = {(rule.workspace_id, rule.kind): rule for rule in self.rules}
        for whom in ((workspace_id, kind), (workspace_id, None), (None, kind), (None, None)):
            if whom in by_whom:
                return by_whom[whom].age_ms
        return None


def expired(
    files: Iterable[DataFile], policy: RetentionPolicy, now_ms: int
) -> dict[Partition, list[DataFile]]:
    """The files that are to go, by partition, the oldest first. now_ms: since the epoch.

    A file that was changed since it was published is kept, since its contents are unknown.
    """
    if not policy.rules:
        return {}
    found: defaultdict[Partition, list[DataFile]] = defaultdict(list)
    for file in files:
        if file.state is not FileState.CHANGED:
            found[file.partition].append(file)
    ages = {key: policy.age_ms(*key) for key in {(each.workspace_id, each.kind) for each in found}}
    gone = []
    for partition, those in found.items():
        age_ms = ages[partition.workspace_id, partition.kind]
        if age_ms is not None and now_ms >= partition.end_ms + age_ms:
            gone.append((partition.end_ms, partition, those))
    return {partition: those for _, partition, those in sorted(gone, key=lambda each: each[:2])}
