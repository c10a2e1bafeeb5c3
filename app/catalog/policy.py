"""How published files are registered in Iceberg tables."""

from collections.abc import Mapping
from typing import Final

import msgspec

COMMIT_FILES_MAX: Final = 200
"""Approximate number of files in one Iceberg commit: each one's footer is read first. A publish of ours is
never divided."""

CONFLICTS_MAX: Final = 20
"""Conflicting commits of other nodes in a row before a pause begins."""

RETRY_S_MIN: Final = 1.0
RETRY_S_MAX: Final = 60.0
"""The pause after a failure doubles from the first to the second."""


EXPIRY_INTERVAL_S: Final = 600.0
"""The interval at which snapshots that are too old or too many are expired; shorter if many can be made
within it."""


class CatalogPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """properties: for pyiceberg's catalog and file access, in the form of its `load_catalog`.

    root: the prefix of every path of a data file, with a trailing slash: `file:///var/lib/lake/`,
        `s3://b/p/`.
    namespace: of the tables, one per kind. node: in the summary of a snapshot, for people.
    commit_interval_s: how often new files are registered. stop_timeout_s: how long a stop waits for the last
        registration.
    snapshots_max, snapshot_age_s: how many snapshots a table keeps, and for how long.
    """

    properties: Mapping[str, str]
    root: str
    namespace: str = "parquet_sink"
    node: str | None = None
    commit_interval_s: float = 60.0
    stop_timeout_s: float = 10.0
    snapshots_max: int = 500
    snapshot_age_s: float = 86_400.0
