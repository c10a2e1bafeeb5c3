"""What a version leaves on disk, kept so that later ones are tried on it.

    python -m tests.upgrade.fixture        writes tests/upgrade/0.1.0.tar.gz, for the version of the package

Rows of every kind and workspace: some in files, some in the journal alone, a batch under a key, and a kill.
Made once a version, when it is released; never made again for one that was.
"""

import io
import json
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from tests.support.payloads import ROW_OF
from tests.support.service import Service, running

DIRECTORY: Final = Path(__file__).parent
KEPT: Final = ("journal", "parquet")
MADE_ANEW: Final = ("journal/reserve", "journal/lock")
WORKSPACES: Final = (1, 2, 4294967295)
IN_FILES: Final = 7
IN_JOURNAL: Final = 5
IDEMPOTENCY_KEY: Final = "posted-before-the-upgrade"
CONFIG: Final[dict[str, dict[str, Any]]] = {"sinks.parquet": {"flush_interval": "3600s"}}


def rows(kind: str, first: int, count: int) -> list[dict[str, Any]]:
    return [ROW_OF[kind](number) for number in range(first, first + count)]


def make(into: Path) -> None:
    with tempfile.TemporaryDirectory() as place, running(Service(Path(place), CONFIG)) as service:
        for workspace in WORKSPACES:
            for kind in ROW_OF:
                service.post_json(kind, rows(kind, 0, IN_FILES), workspace=workspace)
        service.flush()
        for workspace in WORKSPACES:
            for kind in ROW_OF:
                service.post_json(kind, rows(kind, IN_FILES, IN_JOURNAL), workspace=workspace)
        assert post_under_a_key(service) == {"accepted": 1}
        service.kill9()
        with tarfile.open(into, "w:gz") as archive:
            for name in KEPT:
                archive.add(Path(place) / name, name, filter=_of_nobody)


def post_under_a_key(service: Service) -> dict[str, Any]:
    """The answer without its request id; the second time it says that the batch came before."""
    body = json.dumps([ROW_OF["events"](1_000)])
    answer = service.post("events", body, headers={"Idempotency-Key": IDEMPOTENCY_KEY})
    assert answer.status_code == 202, answer.text
    return {name: value for name, value in answer.json().items() if name != "request_id"}


def unpack(archive: Path, directory: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as kept:
        kept.extractall(directory, filter="data")


def _of_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if member.name in MADE_ANEW:
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    target = DIRECTORY / f"{version('parquet-sink')}.tar.gz"
    if target.exists():
        sys.exit(f"{target} is there: what a version wrote is kept as it was")
    make(target)
    print(f"{target}: {target.stat().st_size} bytes")
