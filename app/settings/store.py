"""The part of the configuration that is about an object store."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.object_store.policy import StorePolicy
from app.object_store.url import StoreUrl
from app.settings.quantities import DurationText, parse_duration


class StoreSettings(BaseModel):
    """`[sinks.<name>.store]`: how the service connects to the object store; credentials come from the
    environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str | None = Field(
        default=None,
        pattern="^https?://[^/]+",
        description="URL of an S3-compatible store; default: the provider's own",
    )
    region: str | None = Field(default=None, min_length=1, description="region of S3; default: AWS_REGION")
    virtual_hosted: bool = Field(
        default=False, description="whether the bucket is part of the endpoint's host name"
    )
    conditional_writes: bool = Field(
        default=True, description="set to false for a store that does not support If-None-Match on writes"
    )
    parallel_uploads: int = Field(default=8, ge=1, le=64, description="files uploaded at the same time")
    request_timeout: Annotated[float, DurationText("100ms")] = Field(
        default=parse_duration("60s"),
        description="time limit for one request, including the upload of a whole file",
    )
    connect_timeout: Annotated[float, DurationText("100ms")] = Field(
        default=parse_duration("5s"), description="time limit for connecting to the store"
    )

    def policy(self, url: StoreUrl) -> StorePolicy:
        return StorePolicy(
            url=url,
            endpoint=self.endpoint,
            region=self.region,
            virtual_hosted=self.virtual_hosted,
            conditional_writes=self.conditional_writes,
            parallel_uploads=self.parallel_uploads,
            request_timeout_s=self.request_timeout,
            connect_timeout_s=self.connect_timeout,
        )
