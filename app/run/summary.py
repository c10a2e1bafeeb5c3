"""The periodic summary line in the log."""

import logging

log = logging.getLogger(__name__)


class Summary:
    """Logs a line if something has changed since the last one."""

    def __init__(self) -> None:
        self._last: tuple[float, ...] = ()

    def say(self, text: str, *levels: float) -> None:
        """levels: the values for the placeholders of `text`; the first two are accepted and buffered rows."""
        if levels[:2] != self._last:
            self._last = levels[:2]
            log.info(text, *levels)
