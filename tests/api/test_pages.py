"""What pages are made of: the hour, plots, numbers; and how they stay small however much there is."""

import asyncio
import datetime

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from app.api.admin_auth import AdminAuth
from app.api.api_keys import ApiKeys
from app.api.files.listing import FileFilter, FileListing
from app.api.files.page import FOLDERS_SHOWN_MAX, Shown, render_files_page
from app.api.pages.chart import chart
from app.api.pages.history import READINGS_MAX, History
from app.api.pages.plots import nice_limit
from app.api.pages.query import query_page_router
from app.api.pages.shell import Viewer
from app.api.sessions import SESSION_S, SESSIONS_MAX, Sessions, session_cookie
from app.kinds import Kind
from app.metrics import Metrics
from tests.api.data_files import data_file


def test_a_session_ends_after_its_time_and_the_oldest_where_there_are_too_many() -> None:
    now = 0.0
    sessions = Sessions(lambda: now)

    def held(name: str) -> bytes | None:
        return sessions.credential([(b"cookie", f"a=b; {session_cookie(name, secure=True)}".encode())])

    first = sessions.begin(b"first")
    assert held(first) == b"first"
    now = SESSION_S + 1.0
    assert held(first) is None
    names = [sessions.begin(b"%d" % number) for number in range(SESSIONS_MAX + 1)]
    assert held(names[0]) is None
    assert held(names[1]) == b"1"
    assert held(names[-1]) == b"%d" % SESSIONS_MAX
    assert len(set(names)) == len(names)


def test_the_hour_is_bounded_and_says_how_fast_counts_rose() -> None:
    now = 0.0
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    history = History(registry, lambda: now)
    for _ in range(READINGS_MAX + 10):
        history.note()
        now += 10.0
        metrics.count_usage(1, 50, 500)
        metrics.rows_accepted.labels(Kind.EVENTS.value).inc(50)
    metrics.refusals.labels("2", "invalid_row", "type").inc(4)
    reading = history.read()
    hour = history.until(reading)
    assert (reading.all.rows, reading.all.bytes, reading.all.refused) == (18_550, 185_500, 4)
    assert reading.counts("2").refused == 4
    points = hour.rates(lambda each: each.counts("1").rows)
    assert len(points) == READINGS_MAX
    assert points[0][0] == -3_600
    assert {value for _, value in points} == {5.0}
    assert hour.rows_per_second(None) == hour.rows_per_second("1") == 5.0
    assert hour.rows_per_second("no such") == 0.0


@pytest.mark.parametrize(
    ("most", "limit"), [(0, 1), (1, 1), (1.2, 2), (21, 50), (999, 1000), (0.03, 0.05), (float("inf"), 1)]
)
def test_the_scale_of_a_plot_is_a_round_number(most: float, limit: float) -> None:
    assert nice_limit(most) == pytest.approx(limit)


@pytest.mark.parametrize(
    ("names", "rows", "shown"),
    [
        (["name", "n"], [("a", 1), ("<b>", 2)], "&lt;b&gt;"),
        (["day", "n"], [(datetime.date(2026, 1, 1), 1), (datetime.date(2026, 1, 2), 3)], "polyline"),
        (["x", "y"], [(1, 1.5), (2, 2.5)], "polyline"),
        (["x", "y"], [(2, 1.5), (1, 2.5)], 'class="bars"'),
        (["n"], [(1,), (2,)], ""),
        (["name", "n"], [("a", 1)], ""),
        (["name", "n"], [("a", float("nan")), ("b", 1)], ""),
        (["name", "n"], [("a", None), ("b", None)], ""),
        (["name", "n"], [(None, 1), ("b", 2)], ""),
        ([], [], ""),
    ],
    ids=str,
)
def test_a_result_is_plotted_where_that_makes_sense(
    names: list[str], rows: list[tuple[object, ...]], shown: str
) -> None:
    drawn = chart(names, rows)
    assert shown in drawn
    assert bool(drawn) == bool(shown)


def test_ten_thousand_files_of_many_workspaces_make_a_page_as_small_as_a_hundred() -> None:
    files = [
        data_file(workspace, path=f"{workspace}/2026-01-01/events-{number:04d}.parquet")
        for workspace in range(1, 501)
        for number in range(20)
    ]
    listing = FileListing(lambda: files)
    page = listing.page(FileFilter())
    shown = Shown(page, FileFilter(), 100)
    text = render_files_page(shown, listing.folders(None), Viewer(known=True))
    assert len(listing.folders(None)) == 500
    assert f"And {500 - FOLDERS_SHOWN_MAX} more" in text
    assert text.count("<tr>") == 2 + FOLDERS_SHOWN_MAX + 100
    assert "cursor=" in text
    assert sum(folder.files for folder in listing.folders(None)) == 10_000
    assert [folder.files for folder in listing.folders(7)] == [20]
    assert listing.folders(None) is listing.folders(None), "summed up once"


def test_without_the_extra_the_page_says_how_to_get_it() -> None:
    auth = AdminAuth(ApiKeys({}), None, bound_to_loopback=True)
    app = FastAPI()
    app.include_router(query_page_router(None, "Run: pip install 'x[query]'", auth.authorise))

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/query", params={"sql": "SELECT 1"})

    answer = asyncio.run(get())
    assert answer.status_code == 200
    assert "pip install &#x27;x[query]&#x27;" in answer.text
    assert "SELECT 1</textarea>" in answer.text
