"""`[[quota]]`: limits for what a workspace may send."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import ByteSize, Field, model_validator

from app.api.api_keys import MAX_WORKSPACE_ID
from app.commit.quota_policy import QuotaPolicy
from app.settings.fields import Section
from app.settings.quantities import AtLeast

BURST_S = 10
"""The default burst, as seconds of the rate."""


class QuotaSettings(Section):
    """`[[quota]]`: above it, the workspace's batches are refused with 429 and the time to wait."""

    workspace: Annotated[int, Field(ge=0, le=MAX_WORKSPACE_ID)] | Literal["*"] = Field(
        description='workspace that the quota is for; "*": each workspace without a quota of its own'
    )
    rows_per_second: float | None = Field(
        default=None, gt=0, le=1e12, description="rows accepted per second, on average"
    )
    burst: float | None = Field(
        default=None,
        ge=1,
        le=1e15,
        description=f"rows accepted at once; default: {BURST_S} seconds of rows_per_second",
    )
    bytes_per_day: Annotated[ByteSize, AtLeast("1KB")] | None = Field(
        default=None, description="bytes of texts and payloads accepted per UTC day, before compression"
    )
    inflight_share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="share of server.max_inflight_size, in place of server.workspace_share",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.burst is not None and self.rows_per_second is None:
            raise ValueError("burst needs rows_per_second")
        if (self.rows_per_second, self.bytes_per_day, self.inflight_share) == (None, None, None):
            raise ValueError("set rows_per_second, bytes_per_day or inflight_share; or leave this quota out")
        return self

    @property
    def policy(self) -> QuotaPolicy:
        rate = self.rows_per_second
        burst = self.burst if self.burst is not None else max((rate or 0) * BURST_S, 1)
        bytes_per_day = None if self.bytes_per_day is None else int(self.bytes_per_day)
        return QuotaPolicy(rate, burst, bytes_per_day, self.inflight_share)


def quota_policies(quotas: Sequence[QuotaSettings]) -> Mapping[int | None, QuotaPolicy]:
    """By workspace; None: for all others."""
    return {None if each.workspace == "*" else each.workspace: each.policy for each in quotas}


def refuse_second_quotas(quotas: Sequence[QuotaSettings]) -> None:
    """Raises ValueError where a workspace has two."""
    seen: set[int | str] = set()
    for each in quotas:
        if each.workspace in seen:
            raise ValueError(f"quota: workspace {each.workspace} has two quotas; put them into one [[quota]]")
        seen.add(each.workspace)
