"""/files lists what is on disk; /files/{path} serves it, whole and by ranges."""

import subprocess
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.payloads import ROW_OF, TIMESTAMP_MS, event, numbers
from tests.support.service import ADMIN_TOKEN, KEYS, Service

BACKENDS = (
    "directory",
    "bucket",
    *(pytest.param(name, marks=pytest.mark.heavy) for name in ("kafka", "tables", "workers")),
)

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
FIELDS = {
    "path",
    "workspace_id",
    "date",
    "hour",
    "kind",
    "rows",
    "bytes",
    "min_timestamp",
    "max_timestamp",
    "compression",
    "created_at",
    "updated_at",
    "sealed",
}


@pytest.fixture(scope="module")
def filled(service: Service) -> Service:
    """Three kinds for three workspaces, flushed."""
    for workspace in (1, 2, 3):
        for call, row in ROW_OF.items():
            service.post_json(call, [row(number) for number in range(100)], workspace=workspace)
    service.flush()
    return service


@pytest.mark.parametrize("backend", ["directory", "bucket"], scope="module")  # names of its own
def test_the_list_is_what_is_on_disk(filled: Service) -> None:
    listed = filled.files()

    assert {file["path"] for file in listed} == {
        path.relative_to(filled.parquet).as_posix() for path in filled.data_files()
    }
    for file in listed:
        path = filled.parquet / file["path"]
        assert set(file) >= FIELDS
        assert file["bytes"] == path.stat().st_size
        assert file["rows"] == pq.read_metadata(path).num_rows
        assert file["path"] == f"{file['workspace_id']}/{file['date']}/{file['kind']}.parquet"
        timestamps = pq.read_table(path, partitioning=None)["timestamp"].to_pylist()
        assert (file["min_timestamp"], file["max_timestamp"]) == (min(timestamps), max(timestamps))


def test_the_list_is_newest_first_and_pages_meet_without_gap_or_overlap(filled: Service) -> None:
    whole = filled.admin("GET", "/files").json()["files"]
    created = [file["created_at"] for file in whole]
    assert created == sorted(created, reverse=True)

    pages: list[dict[str, Any]] = []
    cursor = None
    for _ in range(len(whole) + 1):
        params = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = filled.admin("GET", "/files", params=params).json()
        assert len(page["files"]) <= 2
        pages += page["files"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == whole


def test_the_list_is_filtered(filled: Service) -> None:
    today = filled.files()[0]["date"]

    assert {file["workspace_id"] for file in filled.files(workspace_id="2")} == {2}
    assert {file["kind"] for file in filled.files(kind="logs")} == {"logs"}
    assert len(filled.files(date=today)) == 9
    assert filled.files(date="1999-12-31") == []
    assert len(filled.files(workspace_id="2", kind="logs", date=today)) == 1


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "0"},
        {"limit": "-1"},
        {"limit": "many"},
        {"limit": "1000000"},
        {"cursor": "not-a-cursor"},
        {"workspace_id": "x"},
        {"date": "yesterday"},
        {"date": "2026-02-30"},
        {"kind": "metrics"},
    ],
)
def test_a_bad_filter_is_named(filled: Service, params: dict[str, str]) -> None:
    response = filled.admin("GET", "/files", params=params)

    assert response.status_code in (400, 422), response.text
    body = response.json()
    assert set(body) >= {"error", "message", "request_id"}
    assert next(iter(params)) in body["message"]


def test_a_browser_gets_a_page(filled: Service) -> None:
    response = filled.admin("GET", "/files", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/html")
    for file in filled.files():
        assert file["path"] in response.text
    assert "<script" not in response.text


def one_file(filled: Service) -> tuple[str, bytes]:
    path = filled.data_files("events", 1)[0]
    return f"/files/{path.relative_to(filled.parquet).as_posix()}", path.read_bytes()


def test_the_file_is_served_whole_with_length_and_tag(filled: Service) -> None:
    url, content = one_file(filled)

    got = filled.admin("GET", url)
    head = filled.admin("HEAD", url)

    assert got.content == content
    assert head.content == b""
    for response in (got, head):
        assert response.status_code == 200
        assert response.headers["Content-Length"] == str(len(content))
        assert response.headers["Accept-Ranges"] == "bytes"
        assert response.headers["ETag"] == got.headers["ETag"]


@pytest.mark.parametrize(
    ("spec", "start", "end"),
    [("0-3", 0, 4), ("4-", 4, None), ("-8", -8, None), ("10-10", 10, 11), ("5-99999999", 5, None)],
)
def test_a_range_is_served(filled: Service, spec: str, start: int, end: int | None) -> None:
    url, content = one_file(filled)

    response = filled.admin("GET", url, headers={"Range": f"bytes={spec}"})

    assert response.status_code == 206
    assert response.content == content[start:end]
    first = len(content) + start if start < 0 else start
    expected = f"bytes {first}-{first + len(response.content) - 1}/{len(content)}"
    assert response.headers["Content-Range"] == expected


def test_a_range_behind_the_end_is_refused(filled: Service) -> None:
    url, content = one_file(filled)

    response = filled.admin("GET", url, headers={"Range": f"bytes={len(content)}-"})

    assert response.status_code == 416
    assert response.headers["Content-Range"] == f"bytes */{len(content)}"


@pytest.mark.parametrize("backend", ["directory"], scope="module")
def test_the_tag_changes_with_the_file_and_saves_the_body_until_then(own_service: Service) -> None:
    own_service.post_json("events", [event(1)], wait="file")
    url, content = one_file(own_service)
    tag = own_service.admin("GET", url).headers["ETag"]

    unchanged = own_service.admin("GET", url, headers={"If-None-Match": tag})
    own_service.post_json("events", [event(2)], wait="file")
    changed = own_service.admin("GET", url, headers={"If-None-Match": tag})
    stale_range = own_service.admin("GET", url, headers={"If-Range": tag, "Range": "bytes=0-3"})

    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag
    assert stale_range.status_code == 200, "a range of another version must not be mixed in"
    assert len(changed.content) > len(content)
    assert changed.content[: content.rindex(b"PAR1") // 2] == content[: content.rindex(b"PAR1") // 2]


@pytest.mark.parametrize(
    "path",
    [
        "/files/../api-keys.txt",
        "/files/%2e%2e/api-keys.txt",
        "/files/1/../../api-keys.txt",
        "/files/..%2f..%2fetc/passwd",
        "/files//etc/passwd",
        "/files/1/2026-01-01/nothing.parquet",
        "/files/1",
        "/files/%00",
        "/files/" + "a" * 5_000,
    ],
)
def test_only_published_files_are_served(filled: Service, path: str) -> None:
    target = httpx.URL(filled.base_url).copy_with(raw_path=path.encode())

    response = filled.http.request("GET", target, headers=ADMIN)

    assert response.status_code in (400, 403, 404, 414), response.text
    assert KEYS[1] not in response.text


def test_a_file_that_the_service_did_not_publish_is_not_served(filled: Service) -> None:
    stray = filled.data_files("events", 1)[0].with_name("stray.parquet")
    stray.write_bytes(b"PAR1")
    try:
        url = f"/files/{stray.relative_to(filled.parquet).as_posix()}"
        assert filled.admin("GET", url).status_code == 404
    finally:
        stray.unlink()


class RangeFile:
    """A file-like object over HTTP ranges: pyarrow asks for footer and column chunks, as from a store."""

    def __init__(self, client: httpx.Client, url: str) -> None:
        self._client = client
        self._url = url
        self._size = int(client.head(url, headers=ADMIN).headers["Content-Length"])
        self._position = 0
        self.closed = False
        self.requests = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def size(self) -> int:
        return self._size

    def read(self, count: int = -1) -> bytes:
        end = self._size if count < 0 else min(self._position + count, self._size)
        if end <= self._position:
            return b""
        response = self._client.get(
            self._url, headers={**ADMIN, "Range": f"bytes={self._position}-{end - 1}"}
        )
        assert response.status_code == 206
        self.requests += 1
        self._position = end
        return response.content

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


def test_pyarrow_reads_a_file_by_ranges(filled: Service) -> None:
    url, _ = one_file(filled)
    remote = RangeFile(filled.http, url)

    table = pq.ParquetFile(pa.PythonFile(remote, mode="r")).read()

    assert numbers(table) == list(range(100))
    assert remote.requests > 1


def test_clickhouse_reads_a_file_over_http(filled: Service) -> None:
    """Its url() asks for the length, then for the footer and the columns by ranges."""
    from chdb import query

    url, _ = one_file(filled)
    header = f"headers('Authorization' = 'Bearer {ADMIN_TOKEN}')"
    answer = query(
        f"SELECT count(), sum(timestamp) FROM url('{filled.base_url}{url}', Parquet, 'auto', {header})", "CSV"
    )

    assert str(answer).strip() == f"100,{sum(TIMESTAMP_MS + number for number in range(100))}"


def test_polars_reads_a_file_over_http(filled: Service) -> None:
    url, _ = one_file(filled)

    table = pl.scan_parquet(f"{filled.base_url}{url}?token={KEYS[1]}").select("timestamp").collect()

    assert table["timestamp"].to_list() == [TIMESTAMP_MS + number for number in range(100)]


def test_curl_continues_a_broken_download(filled: Service, tmp_path: Path) -> None:
    url, content = one_file(filled)
    target = tmp_path / "events.parquet"
    target.write_bytes(content[:1000])

    done = subprocess.run(
        ["curl", "-sS", "-f", "-C", "-", "-H", f"X-API-Key: {KEYS[1]}", "-o", target, filled.base_url + url],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == content
