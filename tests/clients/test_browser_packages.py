"""The real packages for browsers, in headless Chromium on a page of another origin."""

import functools
import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import pytest

from tests.browser.chromium import browsing
from tests.clients.test_captures import rows_of
from tests.clients.test_packages import COUNT, HALF, ODD_TEXT
from tests.clients.unsteady_proxy import unsteady_proxy
from tests.support.service import KEYS, REPOSITORY, Service

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

SECONDS_MAX: Final = 120.0


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """The address of the page that sends; its port makes it another origin than the service."""
    handler = functools.partial(Quiet, directory=str(REPOSITORY / ".npm-clients"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/page.html"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("package", ["segment", "posthog", "tell"])
def test_all_records_of_a_package_in_a_browser_are_stored_once(
    own_service: Service, page: str, package: str, tmp_path: Path
) -> None:
    def stored() -> Counter[str]:
        return Counter(
            name
            for row in rows_of(own_service, 1, "events")
            if (name := str(row["event_name"])).startswith("record ")
        )

    # tell gives up sooner than a restart may take on a busy machine.
    waits = package == "tell"
    with unsteady_proxy(own_service.port, 2, waits=waits) as proxy, browsing(tmp_path / "profile") as tab:
        tab.go(f"{page}?{urlencode({'package': package, 'url': proxy.url, 'key': KEYS[1], 'count': COUNT})}")
        assert proxy.wait_until_served(1, SECONDS_MAX), tab.complaints
        own_service.restart()
        tab.until(lambda: tab.run("document.title") != "working")
        assert tab.run("document.title") == "sent", tab.complaints
        own_service.wait_until(lambda: stored().total() >= COUNT, SECONDS_MAX)

    assert stored() == Counter(f"record {number}" for number in range(COUNT)), tab.complaints
    rows = [row for row in rows_of(own_service, 1, "events") if str(row["event_name"]).startswith("record ")]
    assert {(row["payload"]["text"], row["payload"]["half"]) for row in rows} == {(ODD_TEXT, HALF)}
    assert {str(row["payload"]["deep"]) for row in rows} == {"{'a': [1, {'b': None}]}"}
