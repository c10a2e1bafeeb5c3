"""Converts times of clients to milliseconds since the epoch, corrected for the error of their clocks."""

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from msgspec import Raw

from app.clients.lenient_json import text_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_moment = msgspec.json.Decoder(datetime).decode

QUEUED_MS_MAX: Final = 366 * 86_400_000
"""How long a message may have waited on a device before it was sent."""

AHEAD_MS_MAX: Final = 86_400_000
"""How long before a message happened it may have been sent, as some are by a clock that was just set."""

NANOSECONDS_MIN: Final = 10**17
"""A smaller number is not one of nanoseconds, which it would be before April 1973."""

MAX_MS: Final = 253_402_300_799_999
"""The end of the year 9999."""


def moment_ms(value: Raw | None) -> int | None:
    """The time of an RFC 3339 text (without an offset: UTC) or a number; None for anything else.

    The unit of a number follows from its magnitude: below 10^11 seconds, below 10^14 ms, below 10^17
    microseconds, else nanoseconds.
    """
    if value is None or not len(value):
        return None
    try:
        moment: datetime = _moment(value)
    except msgspec.DecodeError:
        return _number_ms(text_of(value))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND


def _number_ms(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        return _iso_ms(text)
    return None if number != number else scaled_ms(number)


def scaled_ms(number: float) -> int | None:
    """A number of seconds, milliseconds, microseconds or nanoseconds, depending on its magnitude."""
    size = abs(number)
    if size < 1e11:
        number *= 1000
    elif size >= 1e17:
        number /= 1e6
    elif size >= 1e14:
        number /= 1000
    return int(number) if abs(number) <= MAX_MS else None


def _iso_ms(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND


def skew_ms(received_ms: int, sent_at: Raw | None) -> int:
    """By how much the client's clock is behind; 0 if it does not say when it sent."""
    sent_ms = moment_ms(sent_at)
    return 0 if sent_ms is None else received_ms - sent_ms


def corrected_ms(time_ms: int, skew: int, received_ms: int) -> int:
    """The time by the service's clock, if the client's says that it sent the message after it happened, and
    within QUEUED_MS_MAX. Otherwise its clock was set in between, or what it says of sending is absurd: then
    the time stays as it is, unless it lies in the future, and only the corrected one does not."""
    corrected = time_ms + skew
    if -AHEAD_MS_MAX <= received_ms - corrected <= QUEUED_MS_MAX:
        return corrected
    latest_ms = received_ms + AHEAD_MS_MAX
    return corrected if time_ms > latest_ms and 0 < corrected <= latest_ms else time_ms
