"""`[ingest]`: how batches are read, whoever sends them."""

from typing import Annotated

from pydantic import Field

from app.settings.fields import Section
from app.settings.quantities import DurationText, parse_duration


class IngestSettings(Section):
    """`[ingest]`."""

    repeat_window: Annotated[float, DurationText("0s")] = Field(
        default=parse_duration("60s"),
        description="how long tell-js batches, which have no ids, are known again by their bytes; 0s: never",
    )
