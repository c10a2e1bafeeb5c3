"""Whether batches are accepted, and if not, why: closed temporarily, or failed for good."""

import logging
from collections.abc import Callable
from typing import Final

from app.commit.admission import Admission

log = logging.getLogger(__name__)

STARTING: Final = "starting"
DRAINING: Final = "shutting down"
FAILED: Final = "stopping after a failure"


class Gate:
    """fatal: the error that made the service stop itself; the process must exit non-zero then.

    admission: consulted for every batch. said: errors whose message is sufficient for an operator.
    on_fatal: asks the server to exit.
    """

    def __init__(
        self, admission: Admission, said: tuple[type[BaseException], ...], on_fatal: Callable[[], None]
    ) -> None:
        self.admission = admission
        self.fatal: BaseException | None = None
        self._said = said
        self._on_fatal = on_fatal

    def open(self) -> None:
        """Batches are accepted from now on, unless the service drains or has failed."""
        if self.admission.closed not in (DRAINING, FAILED):
            self.admission.closed = None

    def close(self, reason: str) -> None:
        """Batches are refused until `open`."""
        if self.admission.closed not in (DRAINING, FAILED):
            self.admission.closed = reason

    def drain(self) -> None:
        """Batches are refused from now on, for the previous reason if there was one."""
        self.admission.closed = self.admission.closed or DRAINING

    def fail(self, error: BaseException) -> None:
        """A fatal error happened, on any thread: the process must exit non-zero."""
        if self.fatal is None:
            self.fatal = error
            self.admission.closed = FAILED
            defect = not isinstance(error, self._said)
            log.critical("the service is stopping: %s", error, exc_info=error if defect else None)
            self._on_fatal()

    def reasons_not_ready(self) -> list[str]:
        reasons = self.admission.reasons()
        if self.fatal is not None:
            reasons.append(str(self.fatal))
        return reasons
