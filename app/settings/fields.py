"""Kinds of values that several sections of the configuration share."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
)

from app.object_store.url import is_url, parse_url


def comma_list(value: object) -> object:
    """A list may be one comma-separated string, which is all that an environment variable can hold."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _path(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("the path is empty")
    return value


def _place(value: object) -> object:
    """A directory, or the URL of an object store in its plain form."""
    if isinstance(value, str) and value.strip():
        return str(parse_url(value)) if is_url(value) else Path(value)
    return _path(value)


def checked_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if re.search("replace[-_ ]?(me|with|this)|change[-_ ]?(me|this)", text, re.IGNORECASE):
        raise ValueError("this is a placeholder from an example; replace it with a secret of your own")
    if len(text) < 16 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a token must be at least 16 printable ASCII characters, without spaces")
    return token


def _network(value: object) -> object:
    """A network, or one address, in CIDR notation."""
    if isinstance(value, str):
        try:
            return ip_network(value)
        except ValueError as error:
            raise ValueError(f'{error}; write a network such as "10.0.0.0/8", or one address') from None
    return value


Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]


DirectoryOrUrl = Annotated[Path | str, BeforeValidator(_place)]


NamedPath = Annotated[Path, BeforeValidator(_path)]


AtLeastOne = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
