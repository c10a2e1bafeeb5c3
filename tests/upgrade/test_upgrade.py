"""What earlier versions have left on disk is read by this one: each row once, each key known."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.support.payloads import ROW_OF
from tests.support.service import Service, running
from tests.upgrade.fixture import (
    CONFIG,
    DIRECTORY,
    IN_FILES,
    IN_JOURNAL,
    WORKSPACES,
    post_under_a_key,
    rows,
    unpack,
)

A_DAY_LATER = "2026-11-28T10:00:00Z"
ARCHIVES = sorted(DIRECTORY.glob("*.tar.gz"))


def numbers(service: Service, kind: str, workspace: int) -> Counter[int]:
    """Of the rows in files."""
    payloads = service.table(kind, workspace)["payload"].to_pylist()
    found = [json.loads(payload) for payload in payloads]
    return Counter(each.get("number", each.get("metrics", {}).get("number")) for each in found)


def test_there_is_one_of_each_version() -> None:
    assert [path.name for path in ARCHIVES] == ["0.1.0.tar.gz"]


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)
def test_this_version_goes_on_with_what_it_finds(tmp_path: Path, archive: Path) -> None:
    unpack(archive, tmp_path)
    with running(Service(tmp_path, CONFIG, clock=A_DAY_LATER)) as service:
        assert post_under_a_key(service) == {"accepted": 1, "duplicate": True}
        for workspace in WORKSPACES:
            for kind in ROW_OF:
                service.post_json(kind, rows(kind, IN_FILES + IN_JOURNAL, 1), workspace=workspace)
        service.flush()
        usage = service.admin("GET", "/usage", params={"to": A_DAY_LATER[:10]}).json()["usage"]

        for workspace in WORKSPACES:
            for kind in ROW_OF:
                wanted = Counter(range(IN_FILES + IN_JOURNAL + 1))
                if (workspace, kind) == (1, "events"):
                    wanted[1_000] = 1
                assert numbers(service, kind, workspace) == wanted, (workspace, kind)
        of_files = sum(service.table(kind).num_rows for kind in ROW_OF)
        assert sum(line["rows"] for line in usage) == of_files
        assert not any(line["accepted"] != line["published"] for line in service.status()["rows"])
