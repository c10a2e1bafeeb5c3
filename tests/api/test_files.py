"""GET /files and the files themselves, over a real socket."""

import contextlib
import io
import json
import os
from collections.abc import Awaitable, Iterator
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path

import httpx
import polars as pl
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI

from app.api.admin_auth import AdminAuth
from app.api.api_keys import ApiKeys
from app.api.error_responses import RequestIds, install_error_responses
from app.api.files.listing import FileFilter, FileListing
from app.api.files.response import Opened, OpenedFile
from app.api.files.routes import files_router
from app.api.pages.words import human_size
from app.kinds import Kind
from tests.api.data_files import DATE, Published, data_file
from tests.api.serving import serving

KEY_OF_1 = bytes(range(16))
EVENTS = f"/files/1/{DATE}/events.parquet"


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Published]:
    published = Published(tmp_path)
    yield published
    published.manifest.close()


@pytest.fixture
def client(published: Published) -> Iterator[httpx.Client]:
    auth = AdminAuth(ApiKeys({KEY_OF_1: 1}), None, bound_to_loopback=True)
    app = FastAPI()
    install_error_responses(app, RequestIds())

    def open_file(path: str) -> Awaitable[Opened]:
        return OpenedFile.open(published.data_path / path)

    app.include_router(files_router(published.manifest, open_file, auth.authorise))
    with serving(app) as client:
        yield client


def paths(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [file["path"] for file in response.json()["files"]]


def test_a_listed_file_has_all_that_the_contract_names(client, published):
    published.publish(data_file(hour=None))
    assert client.get("/files").json() == {
        "files": [
            {
                "path": f"1/{DATE}/events.parquet",
                "workspace_id": 1,
                "date": DATE,
                "hour": None,
                "period": "day",
                "kind": "events",
                "rows": 3,
                "bytes": 1000,
                "disk_bytes": 1000,
                "min_timestamp": 1_790_000_000_000,
                "max_timestamp": 1_790_000_000_002,
                "compression": "snappy",
                "created_at": f"{DATE}T10:00:00.000Z",
                "updated_at": f"{DATE}T10:00:00.000Z",
                "sealed": False,
                "state": "published",
            }
        ],
        "next_cursor": None,
    }


@pytest.mark.parametrize(
    ("since", "found"),
    [
        ("2026-11-22T10:00:00.000Z", {1, 2}),
        ("2026-11-22T10:00:00.001Z", {1}),
        ("2026-11-22T12:00:00", {1}),
        ("2026-11-22T13:30:00+01:30", {1}),
        ("2026-11-22T13:30:00%2B01:30", {1}),
        ("2026-11-22T12:00:00.001Z", set()),
        ("", {1, 2}),
    ],
)
def test_who_polls_sees_what_was_published_since(client, published, since, found):
    published.publish(
        data_file(1, created_at="2026-11-22T09:00:00.000Z", updated_at="2026-11-22T12:00:00.000Z")
    )
    published.publish(data_file(2, created_at="2026-11-22T10:00:00.000Z"))
    files = client.get(f"/files?updated_since={since}").json()["files"]
    assert {file["workspace_id"] for file in files} == found


def test_files_stand_newest_first_then_by_path(client, published):
    published.publish(data_file(2, created_at="2026-11-22T10:00:00.000Z"))
    published.publish(data_file(1, created_at="2026-11-22T10:00:00.000Z"))
    published.publish(data_file(3, created_at="2026-11-22T11:00:00.000Z"))
    assert paths(client.get("/files")) == [f"{i}/{DATE}/events.parquet" for i in (3, 1, 2)]


def test_filters_narrow_the_list_and_an_empty_one_does_not(client, published):
    published.publish(data_file(1))
    published.publish(data_file(2, Kind.LOGS))
    published.publish(data_file(2, date="2026-11-21"))
    assert len(paths(client.get("/files?workspace_id=&date=&kind=&cursor="))) == 3
    assert paths(client.get("/files?workspace_id=1")) == [f"1/{DATE}/events.parquet"]
    assert paths(client.get("/files?kind=logs")) == [f"2/{DATE}/logs.parquet"]
    assert paths(client.get("/files?date=2026-11-21")) == ["2/2026-11-21/events.parquet"]
    assert paths(client.get("/files?workspace_id=1&kind=logs")) == []


@pytest.mark.parametrize(
    "query",
    [
        "workspace_id=-1",
        "workspace_id=4294967296",
        "workspace_id=one",
        "date=today",
        "date=2026-02-30",
        "kind=metrics",
        "limit=0",
        "limit=1001",
        "cursor=rubbish",
        "cursor=%00",
        "cursor=" + "x" * 2000,
    ],
)
def test_a_wrong_parameter_is_400_and_named(client, query):
    response = client.get("/files?" + query)
    assert response.status_code == 400, response.text
    assert response.json()["error"] == "invalid_parameter"
    assert query.partition("=")[0] in response.json()["message"]


def test_pages_list_every_file_once_while_files_are_added(client, published):
    for i in range(10):
        published.publish(data_file(i, created_at=f"2026-11-22T10:00:0{i // 3}.000Z"))
    first = client.get("/files?limit=4").json()
    published.publish(data_file(77, created_at="2026-11-22T12:00:00.000Z"))
    published.publish(data_file(0, rows=99, created_at="2026-11-22T10:00:00.000Z"))
    seen, cursor = [file["path"] for file in first["files"]], first["next_cursor"]
    while cursor:
        page = client.get("/files", params={"limit": 4, "cursor": cursor}).json()
        seen += [file["path"] for file in page["files"]]
        cursor = page["next_cursor"]
    assert sorted(seen) == sorted(f"{i}/{DATE}/events.parquet" for i in range(10))
    assert len(paths(client.get("/files?limit=11"))) == 11
    assert client.get("/files?limit=11").json()["next_cursor"] is None


def test_twenty_two_thousand_files_are_paged_through_in_order():
    files = tuple(
        data_file(i % 100, number=i // 100, created_at=f"2026-11-22T{i % 24:02}:00:00.000Z")
        for i in range(22_000)
    )
    listing = FileListing(lambda: files)
    seen, cursor = [], None
    while True:
        page = listing.page(FileFilter(), 1000, cursor)
        seen += page.files
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len({file.path for file in seen}) == 22_000 == len(seen)
    assert all(a.created_at >= b.created_at for a, b in pairwise(seen))


def test_a_workspaces_key_sees_its_own_files_and_nothing_of_others(client, published):
    published.publish(data_file(1))
    published.publish(data_file(2))
    key = {"x-api-key": KEY_OF_1.hex()}
    assert paths(client.get("/files", headers=key)) == [f"1/{DATE}/events.parquet"]
    assert client.get("/files?workspace_id=2", headers=key).status_code == 403
    assert client.get("/files?workspace_id=3", headers=key).status_code == 403
    assert client.get(EVENTS, headers=key).status_code == 200
    other = client.get(f"/files/2/{DATE}/events.parquet", headers=key)
    none = client.get(f"/files/3/{DATE}/events.parquet", headers=key)
    assert other.status_code == none.status_code == 404
    assert other.json()["message"] == none.json()["message"]


def test_a_file_is_served_whole(client, published):
    content = published.publish(data_file())
    response = client.get(EVENTS)
    assert response.content == content
    assert response.headers["content-type"] == "application/vnd.apache.parquet"
    assert response.headers["content-length"] == str(len(content))
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["last-modified"].endswith("GMT")
    assert f"1_{DATE}_events.parquet" in response.headers["content-disposition"]
    assert pq.read_table(io.BytesIO(response.content)).num_rows == 3


def test_head_tells_the_same_without_the_bytes(client, published):
    published.publish(data_file())
    got, head = client.get(EVENTS), client.head(EVENTS, headers={"range": "bytes=0-3"})
    assert head.status_code == 200
    assert head.content == b""
    for name in ("content-length", "etag", "last-modified", "content-type", "accept-ranges"):
        assert head.headers[name] == got.headers[name]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("bytes=0-3", slice(0, 4)), ("bytes=-8", slice(-8, None)), ("bytes=5-", slice(5, None))],
)
def test_a_range_is_served_alone(client, published, asked, expected):
    content = published.publish(data_file())
    response = client.get(EVENTS, headers={"range": asked})
    assert response.status_code == 206
    assert response.content == content[expected]
    start = expected.indices(len(content))[0]
    end = start + len(response.content) - 1
    assert response.headers["content-range"] == f"bytes {start}-{end}/{len(content)}"


def test_a_range_behind_the_end_is_416_with_the_size(client, published):
    content = published.publish(data_file())
    response = client.get(EVENTS, headers={"range": "bytes=999999-"})
    assert response.status_code == 416
    assert response.headers["content-range"] == f"bytes */{len(content)}"
    assert response.content == b""


def test_conditions_hold_for_this_version_alone(client, published):
    published.publish(data_file())
    old = client.get(EVENTS).headers["etag"]
    assert not old.startswith("W/")
    assert client.get(EVENTS, headers={"if-none-match": old}).status_code == 304
    assert client.get(EVENTS, headers={"if-range": old, "range": "bytes=0-3"}).status_code == 206
    assert client.get(EVENTS, headers={"if-match": old}).status_code == 200
    content = published.publish(data_file(), rows=4)
    new = client.get(EVENTS, headers={"if-none-match": old})
    assert new.status_code == 200
    assert new.headers["etag"] != old
    assert client.get(EVENTS, headers={"if-range": old, "range": "bytes=0-3"}).content == content
    assert client.get(EVENTS, headers={"if-match": old}).status_code == 412


def test_a_version_of_the_same_size_has_another_tag(client, published):
    first = published.publish(data_file())
    old = client.get(EVENTS).headers["etag"]
    assert len(published.publish(data_file())) == len(first)
    assert client.get(EVENTS).headers["etag"] != old


def test_a_file_that_is_replaced_while_it_is_sent_arrives_as_the_version_it_was(client, published):
    """Far more than the sockets buffer, so that the replacement happens in the middle."""
    old = published.publish(data_file(), rows=3_000_000)
    assert len(old) > 16 << 20
    with client.stream("GET", EVENTS) as response:
        chunks = response.iter_raw()
        received = next(chunks)
        new = published.publish(data_file(), rows=5)
        received += b"".join(chunks)
    assert received == old
    assert client.get(EVENTS).content == new


def test_a_client_that_leaves_in_the_middle_leaves_no_descriptor_open(client, published):
    content = published.publish(data_file(), rows=3_000_000)
    place = str(published.data_path / "1" / DATE / "events.parquet")
    with client.stream("GET", EVENTS) as response:
        # Held until here: an iterator of httpx that nobody holds closes the connection.
        chunks = response.iter_raw()
        assert len(next(chunks)) < len(content)
        assert place in open_files()
    for _ in range(10_000):
        if place not in open_files():
            return
        client.get("/files")
    pytest.fail("the file is still open")


@pytest.mark.parametrize(
    "path",
    [
        "/files/../manifest",
        "/files/%2e%2e/manifest",
        "/files/..%2fmanifest",
        "/files//etc/passwd",
        "/files/%2fetc%2fpasswd",
        f"/files/1/{DATE}/../{DATE}/events.parquet",
        f"/files/1/{DATE}/secret.parquet",
        f"/files/1/{DATE}",
        "/files/",
        "/files/%00",
        "/files/%ff",
    ],
)
def test_only_published_paths_lead_to_the_disk(client, published, path):
    published.publish(data_file())
    (published.data_path / "1" / DATE / "secret.parquet").write_bytes(b"secret")
    # http.client sends the path as it is; httpx would clean it up first.
    connection = HTTPConnection(client.base_url.host, client.base_url.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 404
        assert json.load(response)["error"] == "not_found"


def test_a_published_file_that_was_taken_away_or_turned_into_a_link_is_not_served(
    client, published, tmp_path
):
    published.publish(data_file())
    place = published.data_path / "1" / DATE / "events.parquet"
    place.unlink()
    assert client.get(EVENTS).status_code == 404
    (tmp_path / "elsewhere").write_bytes(b"secret")
    os.symlink(tmp_path / "elsewhere", place)
    assert client.get(EVENTS).status_code == 404


def test_files_take_no_other_method(client, published):
    published.publish(data_file())
    for method in ("PUT", "DELETE", "POST"):
        assert client.request(method, EVENTS).status_code == 405


def test_polars_reads_a_file_over_http(client, published):
    published.publish(data_file(), rows=1000)
    frame = pl.scan_parquet(str(client.base_url.join(EVENTS)))
    assert frame.select(pl.col("number").sum()).collect().item() == 499_500


def test_a_browser_gets_a_page_that_loads_nothing_from_elsewhere_and_runs_nothing(client, published):
    published.publish(data_file(rows=1234567, bytes=89_000_000))
    response = client.get("/files", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    page = response.text
    assert f'href="{EVENTS}"' in page
    assert "1,234,567" in page
    assert "89.0 MB" in page
    for loaded in ("<script", "src=", "<style", "style=", "@import", "url(", "http:", 'href="//'):
        assert loaded not in page
    for accept in ("application/json", "*/*", "application/json, text/html"):
        assert client.get("/files", headers={"accept": accept}).json()["files"]


def test_the_page_keeps_its_filters_on_the_way_to_the_next_page(client, published):
    for number in range(3):
        published.publish(data_file(1, number=number))
    html = {"accept": "text/html"}
    page = client.get("/files?workspace_id=1&kind=events&limit=2", headers=html).text
    assert '<option value="events" selected>' in page
    link = page.split('<nav><a href="')[1].split('"')[0].replace("&amp;", "&")
    assert "workspace_id=1&kind=events&limit=2&cursor=" in link
    last = client.get(link, headers=html).text
    assert ">1/2026-11-22/events.parquet</a>" in last
    assert "<nav>" not in last


def test_the_page_escapes_what_it_shows(client, published):
    published.publish(data_file(path='1/<script>alert("1")/x.parquet', max_timestamp=2**63 - 1))
    page = client.get("/files", headers={"accept": "text/html"}).text
    assert "<script" not in page
    assert "&lt;script&gt;alert(&quot;1&quot;)" in page


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (128_000_000, "128 MB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes_are_readable(size, text):
    assert human_size(size) == text


def open_files() -> list[str]:
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return found
