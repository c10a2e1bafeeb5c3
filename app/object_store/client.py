"""obstore, made from a policy. It is imported only here, and only if a store is configured."""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from app.object_store.policy import StorePolicy
from app.object_store.url import Provider

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

    Client: TypeAlias = S3Store | GCSStore | AzureStore


class StoreMisconfigured(Exception):
    """The client cannot be made; the message says what is missing."""


def make_client(policy: StorePolicy) -> "Client":
    """A client whose names are relative to the URL's prefix. Nothing is requested yet.

    Raises StoreMisconfigured.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError as error:
        raise StoreMisconfigured(
            f"{policy.url} needs a client that is not installed: pip install 'parquet-sink[s3]'"
        ) from error
    stores: Mapping[Provider, Any] = {
        Provider.S3: S3Store,
        Provider.GOOGLE: GCSStore,
        Provider.AZURE: AzureStore,
    }
    try:
        client: Client = stores[policy.url.provider](
            policy.url.bucket,
            prefix=policy.url.prefix or None,
            config=_config(policy),
            client_options=_client_options(policy),
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=policy.request_timeout_s)},
        )
    except (BaseError, ValueError) as error:
        raise StoreMisconfigured(f"{policy.url}: {first_line(error)}") from None
    return client


def first_line(error: BaseException) -> str:
    """What happened, without the client's inner state."""
    return str(error).partition("\n\nDebug source")[0].replace("\n", " ")[:500]


def _config(policy: StorePolicy) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if policy.endpoint is not None:
        config["endpoint"] = policy.endpoint
    if policy.url.provider is Provider.S3:
        if policy.region is not None:
            config["region"] = policy.region
        config["virtual_hosted_style_request"] = policy.virtual_hosted
        config["conditional_put"] = "etag" if policy.conditional_writes else "disabled"
    return config


def _client_options(policy: StorePolicy) -> dict[str, Any]:
    endpoint = policy.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return {
        "allow_http": (endpoint or "").startswith("http://"),
        "timeout": timedelta(seconds=policy.request_timeout_s),
        "connect_timeout": timedelta(seconds=policy.connect_timeout_s),
    }
