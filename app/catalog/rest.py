"""A REST catalog with timeouts, which pyiceberg's own does not set."""

from typing import Any, Final

from pyiceberg.catalog.rest import RestCatalog
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 30.0


class _BoundedAdapter(HTTPAdapter):
    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        if options.get("timeout") is None:
            options["timeout"] = CONNECT_TIMEOUT_S, READ_TIMEOUT_S
        return super().send(request, *args, **options)


class BoundedRestCatalog(RestCatalog):
    """Requests that are not answered within READ_TIMEOUT_S fail, and the caller tries again."""

    def _create_session(self) -> Session:
        session = super()._create_session()
        for prefix in ("https://", "http://"):
            session.mount(prefix, _BoundedAdapter())
        return session
