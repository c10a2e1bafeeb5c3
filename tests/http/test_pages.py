"""Pages for a browser: the login, what a session opens and what it does not, and who sees what."""

import contextlib
import html
import json
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.support.payloads import event
from tests.support.service import ADMIN_TOKEN, KEYS, Service

BACKENDS = ("directory", "workers")

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PAGES = ("/", "/files", "/query", "/live", "/docs", "/login", "/nothing")
OF_WORKSPACE_2 = "only_in_workspace_two"


@contextlib.contextmanager
def as_browser(service: Service, credential: str | None = None) -> Iterator[httpx.Client]:
    """What a browser sends of itself, and a cookie if it logs in."""
    headers = HTML | {"Origin": service.base_url}
    with httpx.Client(base_url=service.base_url, headers=headers, timeout=30) as browser:
        if credential is not None:
            answer = browser.post("/login", data={"credential": credential, "next": "/files"})
            assert (answer.status_code, answer.headers["location"]) == (303, "/files")
        yield browser


@pytest.fixture(scope="module")
def filled(service: Service) -> Service:
    """Rows of two workspaces, in files and not, and rows of both that were refused."""
    rows = [event(number) for number in range(5)]
    for workspace in (1, 2):
        service.post_json("events", rows, workspace=workspace, wait="file")
    service.post_json("events", [event(7) | {"event": OF_WORKSPACE_2}], workspace=2)
    for workspace, name in ((1, "refused_in_one"), (2, OF_WORKSPACE_2)):
        refused = json.dumps({"type": "nonsense", "event": name})
        assert service.post("events", refused, workspace=workspace).status_code == 400
    return service


@pytest.fixture(scope="module")
def own(filled: Service) -> Iterator[httpx.Client]:
    with as_browser(filled, KEYS[1]) as browser:
        yield browser


@pytest.fixture(scope="module")
def admin(filled: Service) -> Iterator[httpx.Client]:
    with as_browser(filled, ADMIN_TOKEN) as browser:
        yield browser


def test_a_session_is_a_cookie_that_no_script_reads_and_no_other_site_sends(service: Service) -> None:
    with as_browser(service) as browser:
        answer = browser.post("/login", data={"credential": KEYS[1]})
        cookie = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        assert "Secure" not in cookie
        assert KEYS[1] not in cookie
        assert browser.get("/files").status_code == 200
        behind_tls = browser.post(
            "/login", data={"credential": KEYS[1]}, headers={"X-Forwarded-Proto": "https"}
        )
        assert behind_tls.headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize("wrong", ["", "wrong", KEYS[1][:-1], "f" * 31 + "0", ADMIN_TOKEN + "x"])
def test_a_wrong_key_opens_nothing(service: Service, wrong: str) -> None:
    with as_browser(service) as browser:
        answer = browser.post("/login", data={"credential": wrong})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert "neither the admin token nor the key" in answer.text
        assert browser.get("/files").status_code == 401


@pytest.mark.parametrize("path", ["/", "/files?kind=logs", "/query", "/live"])
def test_without_a_key_a_page_is_the_login_that_leads_back(service: Service, path: str) -> None:
    answer = service.http.get(path, headers=HTML)
    assert answer.status_code == 401
    assert 'name="credential"' in answer.text
    assert "basic" not in str(answer.headers.get_list("www-authenticate")).lower()
    following = html.unescape(re.findall(r'name="next" value="([^"]*)"', answer.text)[0])
    assert following in (path, "/overview")


@pytest.mark.parametrize(
    "following",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "evil", "/a\nb: c", "/" + "a" * 2500],
)
def test_a_login_leads_nowhere_else(service: Service, following: str) -> None:
    with as_browser(service) as browser:
        answer = browser.post("/login", data={"credential": KEYS[1], "next": following})
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("path", ["/flush", "/query", "/login", "/logout"])
@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ],
    ids=str,
)
def test_a_page_of_another_origin_changes_nothing(
    filled: Service, own: httpx.Client, path: str, sent: dict[str, str]
) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in own.cookies.items())
    body = {"sql": "SELECT 1", "credential": KEYS[1]}
    answer = httpx.post(filled.base_url + path, data=body, headers={"Cookie": cookie} | sent)
    assert answer.status_code == 403
    assert answer.json()["error"] == "forbidden"
    assert own.get("/files").status_code == 200, "it is still logged in"


def test_the_cookie_never_sends_rows(filled: Service, own: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}
    for call in ("/v1/events", "/v1/logs", "/v1/batch", "/capture/"):
        answer = own.post(call, content=json.dumps(event(1)), headers=headers)
        assert answer.status_code in (401, 403), (call, answer.text)
        assert "text/html" not in answer.headers["content-type"]


def test_a_logout_ends_the_session_also_for_who_has_kept_the_cookie(service: Service) -> None:
    with as_browser(service, KEYS[1]) as browser:
        (cookie,) = [f"{name}={value}" for name, value in browser.cookies.items()]
        left = browser.post("/logout")
        assert (left.status_code, left.headers["location"]) == (303, "/login")
        assert "Max-Age=0" in left.headers["set-cookie"]
        assert browser.get("/files").status_code == 401
    assert httpx.get(service.base_url + "/files", headers=HTML | {"Cookie": cookie}).status_code == 401


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_strict_about_what_it_runs(admin: httpx.Client, path: str) -> None:
    answer = admin.get(path)
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy
    page = answer.text
    assert not re.search(r"<style|style=|\son\w+=|<script(?! src=\"/_pages/)", page)
    for place in re.findall(r'(?:src|href|action)="([^"]*)"', page):
        assert place.startswith(("/", "#")), place
        assert not place.startswith("//")
    for part in re.findall(r'"(/_pages/[^"]*)"', page):
        found = admin.get(part)
        assert found.status_code == 200
        assert admin.get(part, headers={"If-None-Match": found.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/files",
        "/live",
        "/live?kind=events",
        "/query?sql=SELECT+*+FROM+events",
        "/status?errors",
    ],
)
def test_a_key_sees_its_own_workspace_and_nothing_of_another(
    filled: Service, own: httpx.Client, admin: httpx.Client, path: str
) -> None:
    def marks(page: str) -> list[str]:
        return [each for each in (OF_WORKSPACE_2, "2/20", "workspace_id=2", 'number">2<') if each in page]

    assert own.get(path).status_code == 200
    assert marks(own.get(path).text) == []
    assert marks(admin.get(path).text) != [], "it would be seen"


@pytest.mark.parametrize("path", ["/files", "/live", "/query", "/status?errors"])
def test_a_key_cannot_ask_for_another_workspace(own: httpx.Client, path: str) -> None:
    answer = own.get(path, params={"workspace_id": "2", "errors": "1"})
    assert answer.status_code == 403
    assert OF_WORKSPACE_2 not in answer.text


def test_a_file_of_another_workspace_is_not_there(
    filled: Service, own: httpx.Client, admin: httpx.Client
) -> None:
    path = next(file["path"] for file in filled.files(workspace_id="2"))
    assert admin.get(f"/files/{path}?view=1").status_code == 200
    assert own.get(f"/files/{path}?view=1").status_code == 404


def test_the_page_of_a_file_shows_what_is_in_it(filled: Service, own: httpx.Client) -> None:
    file = next(file for file in filled.files(workspace_id="1"))
    listed = own.get("/files").text
    assert f'href="/files/{file["path"]}?view=1"' in listed
    page = own.get(f"/files/{file['path']}?view=1").text
    for shown in ("page_view", "{&quot;number&quot;", "127.0.0.1", "FIXED_LEN_BYTE_ARRAY(16)", "5 rows"):
        assert shown in page
    assert f'href="/files/{file["path"]}"' in page


def test_the_overview_has_the_numbers_of_metrics(filled: Service, admin: httpx.Client) -> None:
    page = admin.get("/").text
    figures = dict(re.findall(r'data-figure="([^"]*)">([^<]*)<', page))
    metrics = filled.metrics()
    accepted = sum(
        value for name, value in metrics.items() if name.startswith("parquet_sink_rows_accepted_total")
    )
    refused = sum(value for name, value in metrics.items() if name.startswith("parquet_sink_refusals_total"))
    assert figures["rows-accepted"] == f"{accepted:,.0f}"
    assert figures["refused"] == f"{refused:,.0f}"
    assert int(figures["files"]) == len(filled.files())
    assert f"{filled.base_url}/v1/events" in page


def test_what_was_refused_says_why_and_how_it_begins(filled: Service, own: httpx.Client) -> None:
    (refused,) = own.get("/status?errors", headers={"Accept": "application/json"}).json()["refusals"]
    assert refused["workspace_id"] == 1
    assert (refused["row"], refused["field"], refused["reason"]) == (1, "type", "invalid_row")
    assert json.loads(refused["text"])["event"] == "refused_in_one"
    page = own.get("/live").text
    assert "refused_in_one" in page
    assert "nonsense" in page
    assert "refused_in_one" not in own.get("/live?kind=logs").text


def test_a_flush_by_the_button_leads_to_the_files(filled: Service, own: httpx.Client) -> None:
    filled.post_json("events", [event(8)])
    answer = own.post("/flush")
    assert answer.status_code == 303
    assert "flushed_rows=1" in answer.headers["location"]
    assert "1 row" in own.get(answer.headers["location"]).text


def test_a_question_is_answered_as_a_table_and_a_plot(filled: Service, own: httpx.Client) -> None:
    names = "SELECT event_name FROM events UNION ALL SELECT 'x<y'"
    sql = f"SELECT event_name, count(*) AS n FROM ({names}) GROUP BY ALL"
    page = own.get("/query", params={"sql": sql}).text
    assert "2 rows" in page
    assert "x&lt;y" in page
    assert 'class="bars"' in page
    saved = own.post("/query?format=csv", data={"sql": "SELECT 1 AS one"})
    assert saved.text.split() == ["one", "1"]
    assert saved.headers["content-disposition"] == 'attachment; filename="query.csv"'


@pytest.mark.parametrize(
    "sql", ["SELEKT 1", "SELECT nothing FROM events", "SELECT * FROM read_csv('/etc/passwd')"]
)
def test_a_question_that_fails_says_so_and_stays_in_the_editor(own: httpx.Client, sql: str) -> None:
    answer = own.get("/query", params={"sql": sql})
    assert answer.status_code in (400, 422)
    assert "The query failed." in answer.text
    assert html.escape(sql) in answer.text


def test_a_link_of_another_site_asks_nothing_by_itself(own: httpx.Client) -> None:
    url = "/query?sql=SELECT+42+AS+answer"
    assert "1 row<" in own.get(url).text
    led = own.get(url, headers={"Sec-Fetch-Site": "cross-site"}).text
    assert "1 row<" not in led
    assert "SELECT 42 AS answer" in led


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/files?limit=x", 400),
        ("GET", "/v1/ingest", 405),
        ("GET", "/metrics", 403),
    ],
)
def test_an_error_is_a_page_for_a_browser_and_json_for_everybody_else(
    own: httpx.Client, method: str, path: str, status: int
) -> None:
    page = own.request(method, path)
    assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
    plain = own.request(method, path, headers={"Accept": "*/*"})
    assert (plain.status_code, plain.headers["content-type"]) == (status, "application/json")
    assert html.escape(plain.json()["message"]) in page.text


def test_a_key_that_is_revoked_counts_no_more_in_a_session(own_service: Service) -> None:
    with as_browser(own_service, KEYS[3]) as browser:
        keys = own_service.directory / "api-keys.txt"
        keys.write_text(keys.read_text().replace(f"{KEYS[3]}:", f"{'0' * 31}1:"))
        own_service.wait_until(lambda: browser.get("/files").status_code == 401, 10)
