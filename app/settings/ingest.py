"""`[ingest]`: how values that clients send are interpreted."""

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
    """`[ingest]`: how values that clients send are interpreted."""

    timestamp_min: Annotated[str, BeforeValidator(_date_text), AfterValidator(_checked_date)] = Field(
        default="1970-01-01", description="rows with an earlier timestamp are refused"
    )
    timestamp_ahead: Annotated[float, DurationText("0s")] = Field(
        default=parse_duration("366d"),
        description="rows with a timestamp further in the future than this are refused",
    )
    ids: Literal["name-based", "strict"] = Field(
        default="name-based",
        description="ids that are not UUIDs: name-based derives a UUID from them, strict refuses the row",
    )
    map: list[MapSettings] = Field(
        default=[], max_length=100, description="mappings from custom JSON to columns"
    )
    repeat_window: Annotated[float, DurationText("0s")] = Field(
        default=parse_duration("60s"),
        description="how long repeated tell-js batches, which have no ids, are recognised by their bytes; "
        "0s: never",
    )
