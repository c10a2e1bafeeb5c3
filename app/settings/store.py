"""The part of the configuration that is about an object store."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.object_store.policy import StorePolicy
from app.object_store.url import StoreUrl
from app.settings.quantities import DurationText, parse_duration


class StoreSettings(BaseModel):
    """`[sinks.<name>.store]`: how the object store is spoken to; credentials come from the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str | None = Field(
        default=None,
        pattern="^https?://[^/]+",
        description="URL of an S3-compatible store; else the provider's own",
    )
    region: str | None = Field(default=None, min_length=1, description="of S3; else AWS_REGION")
    virtual_hosted: bool = Field(default=False, description="the bucket is part of the endpoint's host name")
    conditional_writes: bool = Field(
        default=True, description="false for a store that does not know If-None-Match when it writes"
    )
    parallel_uploads: int = Field(default=8, ge=1, le=64, description="files uploaded at the same time")
    request_timeout: Annotated[float, DurationText("100ms")] = Field(
        default=parse_duration("60s"), description="one request, the upload of a whole file included"
    )
    connect_timeout: Annotated[float, DurationText("100ms")] = Field(
        default=parse_duration("5s"), description="until a connection to the store stands"
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
