"""The regular line in the log about what the service holds."""

import logging

log = logging.getLogger(__name__)


class Summary:
    """Says it where something has changed since the last line."""

    def __init__(self) -> None:
        self._last: tuple[float, ...] = ()

    def say(self, text: str, *levels: float) -> None:
        """levels: what `text` has places for; the first two are the rows accepted and those buffered."""
        if levels[:2] != self._last:
            self._last = levels[:2]
            log.info(text, *levels)
