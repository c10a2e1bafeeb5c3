"""Flushes: the writers of some partitions are asked to publish, and their publication logs are watched."""

import queue
import threading
import time
from concurrent.futures import Future
from typing import Final

import msgspec

from app.errors import Overloaded
from app.kafka.producer import RecordSender
from app.kafka.published import PublishedPartitions
from app.kafka.topic import Topic
from app.parquet.data_file import DataFile
from app.publish.intake import FlushResult

POLL_S: Final = 0.05
RETRY_AFTER_S: Final = 5


class _Command(msgspec.Struct, eq=False):
    """workspace_id: the workspace whose rows are flushed; None for all."""

    future: "Future[FlushResult]"
    workspace_id: int | None


class Flusher:
    """One thread; commands that arrive while it waits are handled together in the next round."""

    def __init__(
        self, sender: RecordSender, published: PublishedPartitions, topic: Topic, timeout_s: float
    ) -> None:
        self._sender = sender
        self._published = published
        self._topic = topic
        self._timeout_s = timeout_s
        self._queue: queue.SimpleQueue[_Command | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flush", daemon=True)
        self.last_flush_ms: int | None = None

    def start(self) -> None:
        self._thread.start()

    def flush(self, workspace_id: int | None) -> "Future[FlushResult]":
        """Resolves when everything replicated before this call is in files, of one workspace or of all.

        Fails with Overloaded when that takes too long (the writers may be busy, or none may be there).
        """
        future: Future[FlushResult] = Future()
        future.set_running_or_notify_cancel()
        self._queue.put(_Command(future, workspace_id))
        if self._stop.is_set():
            self._give_up()
        return future

    def close(self) -> None:
        self._stop.set()
        self._queue.put(None)
        self._thread.join()
        self._give_up()

    def _run(self) -> None:
        while not self._stop.is_set():
            command = self._queue.get()
            if command is None:
                return
            commands = [command]
            while not self._queue.empty():
                more = self._queue.get()
                if more is not None:
                    commands.append(more)
            try:
                self._round(commands)
            except Exception as error:
                refusal = error if isinstance(error, Overloaded) else _unavailable(error)
                for each in commands:
                    each.future.set_exception(refusal)

    def _partitions(self, commands: list[_Command]) -> list[int]:
        if any(command.workspace_id is None for command in commands):
            return list(range(self._topic.partitions))
        return sorted({self._topic.partition_of(command.workspace_id or 0) for command in commands})

    def _round(self, commands: list[_Command]) -> None:
        deadline = time.monotonic() + self._timeout_s
        partitions = self._partitions(commands)
        known: set[str] = set()
        for partition in partitions:
            self._published.to(partition, stale_s=0)
            known |= self._published.files_of(partition).keys()
        offsets = self._sender.ask_to_publish(partitions)
        found: list[DataFile] = []
        for partition, offset in zip(partitions, offsets, strict=True):
            while self._published.to(partition, stale_s=0) <= offset:
                if time.monotonic() > deadline or self._stop.wait(POLL_S):
                    raise Overloaded(
                        "The writers have not published all rows yet and continue; /status shows their lag.",
                        retry_after_s=RETRY_AFTER_S,
                        code="flush_timeout",
                    )
            new = self._published.files_of(partition)
            found += [file for path, file in new.items() if path not in known]
        self.last_flush_ms = time.time_ns() // 1_000_000
        for command in commands:
            files = [each for each in found if command.workspace_id in (None, each.workspace_id)]
            command.future.set_result(FlushResult(sum(each.rows for each in files), files))

    def _give_up(self) -> None:
        while not self._queue.empty():
            command = self._queue.get()
            if command is not None:
                command.future.set_exception(
                    Overloaded("The service is stopping.", retry_after_s=RETRY_AFTER_S)
                )


def _unavailable(error: Exception) -> Overloaded:
    return Overloaded(f"The flush failed: {error}", retry_after_s=RETRY_AFTER_S, code="flush_failed")
