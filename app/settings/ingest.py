"""`[ingest]`: what is made of what clients send."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from app.settings.fields import Section
from app.settings.mapping import MapSettings
from app.settings.quantities import DurationText, parse_duration


def _date_text(value: object) -> object:
    """TOML has dates of its own, which may stand here without quotes."""
    return value.isoformat() if hasattr(value, "isoformat") else value


def _checked_date(text: str) -> str:
    try:
        parse_date(text)
    except (ValueError, OverflowError):
        raise ValueError(f'"{text}" is not a date; write it as "1970-01-01"') from None
    return text


def parse_date(text: str) -> int:
    """Milliseconds since the epoch of a date, or of a date and a time, in UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


class IngestSettings(Section):
    """`[ingest]`: what is made of values that clients send."""

    timestamp_min: Annotated[str, BeforeValidator(_date_text), AfterValidator(_checked_date)] = Field(
        default="1970-01-01", description="a row whose time is before it is refused"
    )
    timestamp_ahead: Annotated[float, DurationText("0s")] = Field(
        default=parse_duration("366d"),
        description="a row whose time is further than this after its receipt is refused",
    )
    ids: Literal["name-based", "strict"] = Field(
        default="name-based",
        description="an id that is no UUID: makes one of it, or refuses the row",
    )
    map: list[MapSettings] = Field(
        default=[], max_length=100, description="JSON of one's own: which key is which column"
    )
    repeat_window: Annotated[float, DurationText("0s")] = Field(
        default=parse_duration("60s"),
        description="how long tell-js batches, which have no ids, are known again by their bytes; 0s: never",
    )
