"""What happens to the world around a service: its files, its manifest, its folders and its clock.

Each takes a scene with published files and returns whether it happened. The service runs before and
afterwards, unless it says otherwise.
"""

import datetime
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from app.kinds import Kind
from tests.support.forked_service import ForkedCatalogService
from tests.torture.fault_scene import WORKSPACES, Scene
from tests.torture.harm import Destroy, destroy, flip, remove, truncate
from tests.torture.ledger import MARK

Fault = Callable[[Scene], bool]

PUBLISHED_SECONDS_MAX: Final = 60.0
"""Rows are published after a tenth of a second, and a machine may be slow; a sixteenth of an hour is more."""

LAG_SECONDS_MAX: Final = 5.0
"""Partitions that are so young are looked at, whose files may lag behind no longer."""

GROWING_TRIES_MAX: Final = 10

PROMOTED_TYPES: Final = ("integer", "double", "string", None)
"""None: it is not promoted."""

LAG_SHARE: Final = 16

STEPS_S: Final = (-172_800, -90_000, -3_600, -5, 5, 3_600, 90_000, 172_800)


def _when(scene: Scene, running: bool, harm: Callable[[], object]) -> None:
    """While it runs under load and stands still for the moment, or while it is down."""

    def frozen() -> None:
        with scene.service.frozen():
            harm()

    if running:
        scene.load(frozen)
        return
    scene.stop()
    harm()
    scene.start()


def file_destroyed(how: str, harmful: Destroy, *, running: bool) -> Fault:
    def fault(scene: Scene) -> bool:
        happened = []

        def harm() -> None:
            growing = scene.rng.random() < 0.6
            paths = scene.whole_files(growing=growing) or scene.whole_files()
            if paths:
                path = scene.rng.choice(paths)
                growing = path in scene.whole_files(growing=True)
                scene.note(destroy(scene.data, path, how, harmful, growing, scene.rng))
                happened.append(path)

        _when(scene, running, harm)
        return bool(happened)

    return fault


def file_older(*, running: bool) -> Fault:
    """In its place, or by a new file of the same name."""

    def fault(scene: Scene) -> bool:
        happened = []
        for _ in range(GROWING_TRIES_MAX):
            if _grown(scene):
                break
            scene.keep_older()
            scene.load()
            scene.flush()

        def harm() -> None:
            if grown := _grown(scene):
                path = scene.rng.choice(grown)
                put_back = partial(_put_back, scene.older_files[path])
                growing = path in scene.whole_files(growing=True)
                scene.note(
                    destroy(scene.data, path, "replaced by an older copy", put_back, growing, scene.rng)
                )
                happened.append(path)

        _when(scene, running, harm)
        return bool(happened)

    return fault


def _grown(scene: Scene) -> list[str]:
    """Files of which there is an older copy."""
    now = {path: (scene.data / path).stat().st_size for path in scene.whole_files()}
    return [
        path
        for path, size in now.items()
        if path in scene.older_files and len(scene.older_files[path]) < size
    ]


def _put_back(content: bytes, path: Path, rng: random.Random) -> None:
    if rng.random() < 0.5:
        path.write_bytes(content)
        return
    new = path.with_name(".restored")
    new.write_bytes(content)
    new.rename(path)


def file_flipped(where: str) -> Fault:
    """Rows come back when the bit does: nothing may be built upon what is damaged, and no file changed."""

    def fault(scene: Scene) -> bool:
        happened = []

        def harm() -> None:
            paths = scene.whole_files(growing=scene.rng.random() < 0.8) or scene.whole_files()
            if paths:
                path = scene.rng.choice(paths)
                growing = path in scene.whole_files(growing=True)
                scene.flips.append(flip(scene.data, path, where, growing, scene.rng))
                happened.append(path)

        _when(scene, scene.rng.random() < 0.5, harm)
        scene.load()
        return bool(happened)

    return fault


def manifest_harmed(harmful: Callable[[Scene], bool]) -> Fault:
    """While it is down. What it has yet to say of other harm, it says before: only the manifest knew that."""

    def fault(scene: Scene) -> bool:
        if scene.harms:
            scene.restart()
            scene.wrong += scene.verdict()
            scene.load()
        scene.stop()
        happened = harmful(scene)
        scene.start()
        return happened

    return fault


def manifest_removed(scene: Scene) -> bool:
    scene.manifest.unlink()
    return True


def manifest_cut(scene: Scene) -> bool:
    """To its header, to a record, or anywhere behind its header."""
    content = scene.manifest.read_bytes()
    lines = [0] + [at + 1 for at, byte in enumerate(content) if byte == ord("\n")]
    header = lines[1]
    cuts = [header, scene.rng.choice(lines[1:]), scene.rng.randrange(header, len(content))]
    scene.manifest.write_bytes(content[: scene.rng.choice(cuts)])
    return True


def manifest_flipped(scene: Scene) -> bool:
    content = bytearray(scene.manifest.read_bytes())
    content[scene.rng.randrange(len(content))] ^= 1 << scene.rng.randrange(8)
    scene.manifest.write_bytes(content)
    return True


def manifest_older(scene: Scene) -> bool:
    if not scene.older_manifests:
        return False
    scene.manifest.write_bytes(scene.rng.choice(scene.older_manifests))
    return True


def folder_forbidden(scene: Scene) -> bool:
    """The folder of a workspace's day may not be written, or not even looked into; perhaps across a
    restart.
    """
    workspace = scene.rng.choice(WORKSPACES)
    now = datetime.datetime.fromtimestamp(time.time() + scene.service.clock_is_off_s, datetime.UTC)
    folder = scene.data / str(workspace) / now.date().isoformat()
    if not folder.is_dir():
        scene.post(workspace)
        scene.flush()
    if not folder.is_dir():
        return False  # midnight
    mode = folder.stat().st_mode
    folder.chmod(scene.rng.choice([0o555, 0o000]))
    try:
        scene.load()
        if scene.rng.random() < 0.5:
            scene.restart()
        return _harms_itself_alone(scene, workspace)
    finally:
        folder.chmod(mode)


def _harms_itself_alone(scene: Scene, workspace: int) -> bool:
    """Whether the folder cannot be published; then it must be said, and others must be published."""
    scene.post(workspace)
    flushed = scene.service.admin("POST", "/flush", params={"workspace_id": str(workspace)})
    failing = {each["workspace_id"] for each in scene.service.status()["failing_partitions"]}
    if flushed.status_code == 503 and failing != {workspace}:
        scene.wrong.append(f"workspace {workspace} cannot be published, and {failing} are said to fail")
    for other in WORKSPACES:
        if other != workspace:
            scene.post(other)
            scene.flush(other)
    if scene.service.http.get("/ready").status_code != 200:
        scene.wrong.append("not ready for one folder that cannot be written")
    return flushed.status_code == 503


def clock_stepped(scene: Scene) -> bool:
    """Once or several times, while it runs; rows wait no longer for that."""
    for _ in range(scene.rng.randint(1, 3)):
        scene.load(lambda: scene.service.step_clock(scene.rng.choice(STEPS_S)))
        if _lag_s(scene) < LAG_SECONDS_MAX:
            scene.service.wait_until(
                lambda: scene.service.status()["buffer"]["rows"] == 0, PUBLISHED_SECONDS_MAX
            )
    if scene.rng.random() < 0.5:
        scene.service.step_clock(-scene.service.clock_is_off_s)
    return True


def _lag_s(scene: Scene) -> float:
    """How far a file may lag behind: a sixteenth of its partition's age, as the clock was at the start."""
    now = time.time() + scene.started_off_s
    created = [
        datetime.datetime.fromisoformat(file["created_at"]).timestamp() for file in scene.service.files()
    ]
    return max(((now - each) / LAG_SHARE for each in created), default=0.0)


FAULTS: Final[dict[str, Fault]] = {
    "file removed": file_destroyed("removed", remove, running=True),
    "file removed, down": file_destroyed("removed while it was down", remove, running=False),
    "file truncated": file_destroyed("truncated", truncate, running=True),
    "file truncated, down": file_destroyed("truncated while it was down", truncate, running=False),
    "file older": file_older(running=True),
    "file older, down": file_older(running=False),
    "payload flipped": file_flipped("payload"),
    "footer flipped": file_flipped("footer"),
    "end flipped": file_flipped("end"),
    "manifest removed": manifest_harmed(manifest_removed),
    "manifest cut": manifest_harmed(manifest_cut),
    "manifest flipped": manifest_harmed(manifest_flipped),
    "manifest older": manifest_harmed(manifest_older),
    "no permission": folder_forbidden,
    "clock stepped": clock_stepped,
}


def promotions_changed(scene: Scene) -> bool:
    """A column gets another type, or is not one any more, while files wait to be registered."""
    service = scene.service
    assert isinstance(service, ForkedCatalogService)
    for _ in range(scene.rng.randint(1, 2)):
        scene.load(scene.stop)
        chosen = [(kind, scene.rng.choice(PROMOTED_TYPES)) for kind in Kind]
        service.promote(
            [
                {"kind": kind.value, "path": f"$.{MARK}", "name": "number", "type": type_}
                for kind, type_ in chosen
                if type_ is not None
            ]
        )
        scene.start()
        scene.load()
    return True


FAULTS_OF_TABLES: Final[dict[str, Fault]] = {
    "promotions changed": promotions_changed,
    "manifest removed": FAULTS["manifest removed"],
    "manifest older": FAULTS["manifest older"],
}

FAULTS_OF_A_BUCKET: Final = {
    name: fault for name, fault in FAULTS.items() if name.startswith(("manifest", "clock"))
}
