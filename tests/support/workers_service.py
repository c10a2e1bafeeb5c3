"""The service with two worker processes before the one that owns the journal."""

from pathlib import Path
from typing import Any

from tests.support.service import Config, Service


class WorkersService(Service):
    """Otherwise as configured."""

    def configure(self, config: Config) -> None:
        sections: dict[str, Any] = dict(config)
        sections["server"] = {"workers": 2, **sections.get("server", {})}
        super().configure(sections)

    def worker_pids(self) -> list[int]:
        """Of the processes that take batches."""
        found = []
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                text, command = status.read_text(), (status.parent / "cmdline").read_bytes()
            except OSError:
                continue  # it has just ended
            if f"\nPPid:\t{self.process.pid}\n" in text and b"spawn_main" in command:
                found.append(int(status.parent.name))
        return sorted(found)
