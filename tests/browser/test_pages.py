"""The pages in a real browser: wide and narrow, dark and light, by keyboard alone, from this host alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.browser.chromium import Page, browsing
from tests.support.payloads import event, log_line
from tests.support.service import ADMIN_TOKEN, KEYS, Service

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]

SQL = "SELECT event_name, count(*) AS n FROM events GROUP BY ALL"
PATHS = (
    "/",
    "/files",
    "/files?workspace_id=1",
    "FILE",
    f"/query?sql={quote(SQL)}",
    "/live",
    "/docs",
    "/nothing",
)


@pytest.fixture(scope="module")
def filled(service: Service) -> Service:
    service.post_json("events", [event(number) for number in range(42)])
    service.post_json("logs", [log_line(1)], workspace=2)
    service.post("events", '{"type": "nonsense", "event": "' + "x" * 200 + '"}')
    service.flush()
    return service


@pytest.fixture(scope="module")
def page(filled: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser in which an admin has logged in, by keys alone: the field has the focus."""
    with browsing(tmp_path_factory.mktemp("profile")) as page:
        page.looks(1280)
        page.go(filled.base_url + "/login?next=/files")
        log_in(page, ADMIN_TOKEN)
        assert page.run("location.pathname") == "/files"
        yield page


def log_in(page: Page, credential: str) -> None:
    """By keys alone, on a page that asks for one."""
    page.until(lambda: page.run("document.activeElement.name") == "credential")
    with page.loading():
        page.write(credential)
        page.press("Enter")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_and_asks_this_host_alone(
    filled: Service, page: Page, width: int, dark: bool
) -> None:
    page.looks(width, dark=dark)
    page.requests.clear()
    page.complaints.clear()
    for path in PATHS:
        if path == "FILE":
            path = f"/files/{filled.files()[0]['path']}?view=1"
        page.go(filled.base_url + path)
        page.run("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert page.run("document.documentElement.scrollWidth") <= width, path
        colour = page.run("getComputedStyle(document.body).backgroundColor")
        assert (colour == "rgb(20, 24, 31)") == dark
        outside = page.run(
            "[...document.querySelectorAll('td, pre, dd')].filter(each => !each.closest('.scroll') && "
            "each.getClientRects().length && each.getBoundingClientRect().right > innerWidth + 1).length"
        )
        assert outside == 0, f"{path}: what cannot be seen"
    # An icon of a field of the browser's own is a data: address.
    asked = {urlsplit(each).netloc for each in page.requests if not each.startswith("data:")}
    assert asked == {urlsplit(filled.base_url).netloc}
    assert [each for each in page.complaints if not each.endswith("/nothing")] == []


def test_on_a_phone_no_column_of_a_file_is_lost(filled: Service, page: Page) -> None:
    page.looks(390)
    page.go(filled.base_url + "/files")
    labels = page.run(
        "[...document.querySelectorAll('table.cards:last-of-type tbody tr:first-child td')]"
        ".filter(each => each.getClientRects().length).map(each => each.dataset.label)"
    )
    for label in ("File", "Rows", "Size", "Rows from", "to (UTC)", "State", "Updated (UTC)", "Get"):
        assert label in labels


def test_the_numbers_rise_by_themselves_to_those_of_metrics(filled: Service, page: Page) -> None:
    page.looks(1280)
    page.go(filled.base_url + "/")
    before = figure(page, "rows-accepted")
    filled.post_json("events", [event(number) for number in range(7)], workspace=3)
    page.until(lambda: figure(page, "rows-accepted") != before)
    metrics = filled.metrics()
    accepted = sum(n for name, n in metrics.items() if name.startswith("parquet_sink_rows_accepted_total"))
    assert figure(page, "rows-accepted") == f"{accepted:,.0f}"


def test_a_page_whose_session_has_ended_asks_for_the_key_again(filled: Service, tmp_path: Path) -> None:
    with browsing(tmp_path) as page:
        page.go(filled.base_url + "/login")
        log_in(page, KEYS[2])
        assert page.run("document.querySelectorAll('[data-figure]').length") > 0
        with page.loading():  # by its own script
            page.run("fetch('/logout', {method: 'POST'}).then(answer => answer.status)")
        page.until(lambda: page.run("document.querySelectorAll('[name=credential]').length") == 1)


def figure(page: Page, name: str) -> str:
    return str(page.run(f"document.querySelector('[data-figure={name}]').textContent"))


def test_rows_appear_as_they_are_accepted_and_refused_ones_with_the_reason(
    filled: Service, page: Page
) -> None:
    page.looks(1280)
    page.go(filled.base_url + "/live?kind=events")
    said = "document.getElementById('tail-state').textContent"
    page.until(lambda: "Watching" in page.run(said))
    filled.post_json("events", [event(1) | {"event": "<i>seen at once</i>"}])
    filled.post_json("logs", [log_line(2)])
    page.until(lambda: "seen at once" in page.run("document.querySelector('table[data-tail]').textContent"))
    assert "1 row" in page.run(said)
    filled.post("events", json.dumps({"type": "wrong_type"}))
    page.until(lambda: "wrong_type" in page.run("document.getElementById('refused').textContent"))
    assert page.run("document.querySelectorAll('table i').length") == 0


def test_a_question_is_asked_by_keys_alone(filled: Service, page: Page) -> None:
    page.looks(1280)
    page.go(filled.base_url + "/query")
    for _ in range(20):
        page.press("Tab")
        if page.run("document.activeElement.name") == "sql":
            break
    page.write(SQL)
    with page.loading():
        for _ in range(10):
            page.press("Tab")
            if page.run("document.activeElement.textContent") == "Run":
                break
        page.press("Enter")
    assert page.run("document.querySelectorAll('#result tbody tr').length") >= 1
    assert quote("count(*)", safe="*") in page.run("location.search").replace("+", "%20")


def test_every_link_of_the_overview_is_reached_by_the_tab_key_and_can_be_seen(
    filled: Service, page: Page
) -> None:
    page.looks(1280)
    page.go(filled.base_url + "/")
    wanted = page.run("document.querySelectorAll('header a').length")
    found = set()
    for _ in range(wanted + 4):
        page.press("Tab")
        found.add(page.run("document.activeElement.getAttribute('href')"))
        assert page.run("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert {"#main", "/", "/files", "/query", "/live", "/docs"} <= found


def test_a_wrong_key_shows_nothing_and_the_right_one_its_own(filled: Service, tmp_path: Path) -> None:
    with browsing(tmp_path) as page:
        page.looks(390)
        page.go(filled.base_url + "/files")
        for credential in ("f" * 32, KEYS[2]):
            assert "parquet" not in page.run("document.querySelector('main').textContent").lower().replace(
                "parquet-sink keys", ""
            )
            with page.loading():
                page.run("document.querySelector('[name=credential]').focus()")
                page.write(credential)
                page.press("Enter")
        shown = page.run("document.querySelector('main').textContent")
        assert "2/20" in shown
        assert "1/20" not in shown
        assert page.run("document.cookie") == "", "no script reads it"
        with page.loading():
            page.run("setTimeout(() => document.querySelector('header form').requestSubmit(), 0)")
        page.go(filled.base_url + "/files")
        assert page.run("document.querySelectorAll('[name=credential]').length") == 1
