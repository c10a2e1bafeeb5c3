"""pyiceberg, made from a policy. It is imported only in this package, and only for a configured catalog."""

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from app.catalog.policy import CatalogPolicy

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog


CATALOG_NAME: Final = "lake"
"""The catalog's name. In SQL catalogs it is part of a table's identity, so readers must give the same."""


class CatalogMisconfigured(Exception):
    """The catalog cannot be used; the message says what is missing."""


def require_client() -> None:
    """Raises CatalogMisconfigured if pyiceberg is not installed."""
    if find_spec("pyiceberg") is None or find_spec("sqlalchemy") is None:
        raise CatalogMisconfigured(
            "a catalog needs a client that is not installed: run pip install 'parquet-sink[iceberg]'"
        )


def open_catalog(policy: CatalogPolicy) -> "Catalog":
    """Connects. Raises whatever the client raises: OSError, SQLAlchemyError, RESTError, ValueError …"""
    logging.getLogger("pyiceberg").setLevel(logging.WARNING)
    if policy.properties.get("type") == "rest":
        from app.catalog.rest import BoundedRestCatalog

        return BoundedRestCatalog(CATALOG_NAME, **policy.properties)
    from pyiceberg.catalog import load_catalog

    return load_catalog(CATALOG_NAME, **policy.properties)
