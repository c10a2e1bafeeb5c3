"""A service under load, what it is told to do, and what happens to it: the stage of a campaign of faults."""

import contextlib
import http.client
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from app.kinds import Kind
from tests.support.catalog_service import table_violations, wait_until_registered
from tests.support.forked_service import Forked
from tests.torture.fault_oracle import Found, Told, judge, listed_wrongly, note_what_must_return, read_rows
from tests.torture.harm import Harm, flip_back
from tests.torture.kill_campaign import Client, post
from tests.torture.ledger import Ledger
from tests.torture.state_on_disk import files_in_manifest

CLIENTS: Final = 2
WORKSPACES: Final = (1, 2, 3)
NOTICED_SECONDS_MAX: Final = 20.0
OLDER_KEPT: Final = 4
CONFIG: Final[dict[str, dict[str, Any]]] = {
    # Small, so that files overflow and flushes happen all the time. Segments differ from place to place.
    "sinks.parquet": {"flush_interval": "100ms", "max_file_size": "60KB"},
}


class SceneClient(Client):
    """With fewer and smaller batches, of the workspaces of a scene."""

    def post_one(
        self, connection: http.client.HTTPConnection, ledger: Ledger, random_: random.Random
    ) -> bool:
        return post_one(connection, ledger, random_, random_.choice(WORKSPACES))


def post_one(
    connection: http.client.HTTPConnection, ledger: Ledger, rng: random.Random, workspace: int
) -> bool:
    """One batch of some rows; False when the connection broke."""
    kind = rng.choice(list(Kind))
    key = f"{rng.getrandbits(64):x}" if rng.random() < 0.3 else None
    batch = ledger.sending(kind.value, workspace, rng.randint(1, 10), key)
    return post(connection, ledger, batch, flatbuffer=rng.random() < 0.5)


class Scene:
    """One service on directories of its own. harms: to files, of which the service may still have to speak.

    destroyed: all files that were, by path. forgiven: rows that it said are lost. kills: of it, so far.
    started_off_s: by how much its clock was off when it was started.
    """

    def __init__(self, directory: Path, new_service: Callable[..., Forked], rng: random.Random) -> None:
        self.rng = rng
        segment_size = rng.choice(["64KiB", "64MiB"])
        self.service = new_service(directory, {**CONFIG, "journal": {"segment_size": segment_size}})
        self.ledger = Ledger(directory / "ledger", synced=False)
        self.harms: list[Harm] = []
        self.flips: list[Harm] = []
        self.destroyed: dict[str, Harm] = {}
        self.forgiven: set[int] = set()
        self.older_files: dict[str, bytes] = {}
        self.older_manifests: list[bytes] = []
        self.kills = 0
        self.started_off_s = 0.0
        self.wrong: list[str] = []

    def __enter__(self) -> "Scene":
        return self

    def __exit__(self, *_: object) -> None:
        self.service.__exit__()
        self.ledger.close()

    @property
    def data(self) -> Path:
        return self.service.parquet

    # --- what is done with the service --------------------------------------------------------------------

    def start(self) -> None:
        """Raises DidNotStart."""
        if self.service.running:
            return
        if self.harms:
            note_what_must_return(self.harms, self.service.journal, self.read()[0])
        self.started_off_s = self.service.clock_is_off_s
        self.service.start()

    def stop(self) -> None:
        """By kill -9, or in order."""
        if not self.service.running:
            return
        if self.rng.random() < 0.7:
            self.kills += 1
            self.service.kill9()
        elif (code := self.service.terminate()) != 0:
            self.wrong.append(f"an orderly stop ended with {code}")

    def restart(self) -> None:
        self.stop()
        self.start()

    def load(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Clients post at once, for some hundredths of a second; something may happen in their midst."""
        stop = threading.Event()
        clients = [
            SceneClient(self.service.port, self.ledger, self.rng.getrandbits(32), stop)
            for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        time.sleep(self.rng.uniform(0.01, 0.06))
        meanwhile()
        time.sleep(self.rng.uniform(0.01, 0.06))
        stop.set()
        for client in clients:
            client.join()

    def post(self, workspace: int) -> None:
        """A batch that must be taken."""
        port = self.service.port
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            post_one(connection, self.ledger, self.rng, workspace)
        if not self.ledger.batches[-1].is_accepted:
            self.wrong.append(
                f"a batch of workspace {workspace} was answered {self.ledger.batches[-1].status}"
            )

    def flush(self, workspace: int | None = None) -> None:
        """It must succeed."""
        params = {} if workspace is None else {"workspace_id": str(workspace)}
        answer = self.service.admin("POST", "/flush", params=params)
        if answer.status_code != 200:
            self.wrong.append(f"a flush of {workspace or 'all'} was answered {answer.text}")

    def keep_older(self) -> None:
        """Copies of what a backup would have."""
        with self.service.frozen():
            self.older_manifests = [*self.older_manifests, self.manifest.read_bytes()][-OLDER_KEPT:]
            for path in self.whole_files():
                self.older_files[path] = (self.data / path).read_bytes()

    @property
    def manifest(self) -> Path:
        return self.service.journal / "manifest"

    def whole_files(self, *, growing: bool | None = None) -> list[str]:
        """Published files that nothing was done to. growing: only those that may still grow, or may not."""
        listed = files_in_manifest(self.service.journal)
        flipped = {harm.path for harm in self.flips}
        return sorted(
            path
            for path, file in listed.items()
            if growing in (None, not file["sealed"])
            and "state" not in file
            and path not in self.destroyed
            and path not in flipped
            and (self.data / path).exists()
        )

    def note(self, harm: Harm) -> None:
        self.harms.append(harm)
        self.destroyed[harm.path] = harm

    # --- the verdict --------------------------------------------------------------------------------------

    def read(self) -> tuple[Found, list[str]]:
        """Objects are copied first. Raises AssertionError if one of them was replaced."""
        self.service.data_files()
        return read_rows(self.data, self.destroyed)

    def flip_back(self) -> None:
        with self.service.frozen():
            for harm in self.flips:
                flip_back(self.data, harm)
        self.flips.clear()

    def verdict(self) -> list[str]:
        """Everything is published, and held against the ledger. Raises DidNotStart, AssertionError."""
        self.flip_back()
        self.start()
        self.flush()
        self.service.wait_until(self._has_noticed, NOTICED_SECONDS_MAX)
        status = self.service.status()
        told = Told(
            files={file["path"]: file for file in self.service.files()},
            lost={file["path"]: file["lost_rows"] for file in status["lost_files"]},
            account=status["rows"],
            metric=int(self.service.metrics()["parquet_sink_lost_rows"]),
        )
        with self.service.frozen():
            found, wrong = self.read()
        wrong = [*self.wrong, *wrong, *judge(self.ledger.batches, found, self.harms, self.forgiven, told)]
        whole = {path: rows for path, rows in found.items() if path not in self.destroyed}
        wrong += listed_wrongly(whole, told)
        wrong += self._wrong_in_tables()
        if "Traceback" in self.service.stderr:
            wrong.append("a traceback was logged")
        there = {mark for rows in found.values() for _, _, mark in rows}
        for harm in self.harms:
            self.forgiven |= harm.taken - there
        self.harms = [harm for harm in self.harms if not harm.starts]
        return wrong

    def _wrong_in_tables(self) -> list[str]:
        """Every row is in its table once, whatever its file has for columns."""
        if self.service.tables is None:
            return []
        wait_until_registered(self.service)
        left_out = self.service.status()["catalog"]["left_out"]
        wrong = [f"left out of its table: {file}" for file in left_out]
        return wrong + table_violations(self.ledger.batches, self.service.tables)

    def _has_noticed(self) -> bool:
        """Files that are gone or shorter are looked for once a second."""
        if not any(harm.taken and not harm.starts for harm in self.harms):
            return True
        states = {file["path"]: file["state"] for file in self.service.files()}
        return all(
            states.get(harm.path) != "published" or self._is_whole(harm)
            for harm in self.harms
            if not harm.starts
        )

    def _is_whole(self, harm: Harm) -> bool:
        """A version that was about to be published took its place."""
        path = self.data / harm.path
        return path.exists() and path.read_bytes() != harm.left
