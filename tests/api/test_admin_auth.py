"""Who may use the admin calls: token, workspace key, open loopback; and what a browser may not do."""

from base64 import b64encode

import pytest

from app.api.admin_auth import Access, AdminAuth
from app.api.api_keys import ApiKeys
from app.errors import Forbidden, Unauthenticated

TOKEN = "a-secret-of-sixteen-characters"
KEY = bytes(range(16))
HEX = KEY.hex()
KEYS = ApiKeys({KEY: 7, b"\xee" * 16: 8})
EVERYTHING = Access(None)

OPEN = AdminAuth(KEYS, None, bound_to_loopback=True)
CLOSED = AdminAuth(KEYS, None, bound_to_loopback=False)
WITH_TOKEN = AdminAuth(KEYS, TOKEN, bound_to_loopback=True)


def request(
    headers: dict[str, str] | None = None,
    method: str = "GET",
    query: str = "",
    host: str | None = "localhost",
) -> dict:
    sent = {"host": host} if host is not None else {}
    sent.update(headers or {})
    return {
        "type": "http",
        "method": method,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "authorization", [f"Bearer {TOKEN}", f"bearer {TOKEN}", basic("admin", TOKEN), basic(TOKEN, "")]
)
def test_the_admin_token_opens_everything(authorization):
    for auth in (WITH_TOKEN, AdminAuth(KEYS, TOKEN, bound_to_loopback=False)):
        assert auth.authorise(request({"authorization": authorization}, host="example.org")) == EVERYTHING
        auth.authorise_admin(request({"authorization": authorization}))


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, ""),
        ({"authorization": f"Bearer {TOKEN}x"}, ""),
        ({"authorization": f"Bearer {TOKEN[:-1]}"}, ""),
        ({"authorization": "Bearer "}, ""),
        ({"authorization": f"Digest {TOKEN}"}, ""),
        ({"authorization": basic("admin", "wrong")}, ""),
        ({"x-api-key": "0" * 32}, ""),
        ({}, f"token={TOKEN}"),
        ({"authorization": f"Bearer {TOKEN}", "x-api-key": HEX}, ""),
        ({"authorization": "Bearer \u00e9"}, ""),
    ],
)
def test_with_a_token_configured_nothing_else_opens(headers, query):
    with pytest.raises(Unauthenticated):
        WITH_TOKEN.authorise(request(headers, query=query))


def test_an_empty_token_in_the_configuration_is_no_token():
    with pytest.raises(Forbidden):
        AdminAuth(KEYS, "", bound_to_loopback=False).authorise(request())
    with pytest.raises(Unauthenticated):
        AdminAuth(KEYS, "", bound_to_loopback=False).authorise(request({"authorization": "Bearer "}))


@pytest.mark.parametrize("auth", [OPEN, CLOSED, WITH_TOKEN])
@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"authorization": f"Bearer {HEX}"}, ""),
        ({"x-api-key": HEX.upper()}, ""),
        ({"authorization": basic(HEX, "")}, ""),
        ({}, f"token={HEX}"),
    ],
)
def test_a_workspaces_key_opens_that_workspace_and_not_the_admin_calls(auth, headers, query):
    assert auth.authorise(request(headers, query=query)) == Access(7)
    with pytest.raises(Forbidden):
        auth.authorise_admin(request(headers, query=query))


def test_reachable_from_elsewhere_without_a_token_it_is_closed_and_says_what_to_set():
    with pytest.raises(Forbidden, match=r"auth\.admin_token"):
        CLOSED.authorise(request())


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080", "a.localhost"]
)
def test_on_loopback_without_a_token_it_is_open_to_local_names(host):
    assert OPEN.authorise(request(host=host)) == EVERYTHING


@pytest.mark.parametrize(
    "host",
    ["rebound.example.org:8080", "localhost.example.org", "10.0.0.1", "", None, "[::1", "127.0.0.1.nip.io"],
)
def test_a_rebound_name_does_not_count_as_local(host):
    with pytest.raises(Forbidden, match="Host header"):
        OPEN.authorise(request(host=host))


@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded"])
def test_what_came_through_a_proxy_does_not_count_as_local(name):
    with pytest.raises(Forbidden, match="proxy"):
        OPEN.authorise(request({name: "192.0.2.1"}))


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_page_of_another_origin_can_change_nothing(headers):
    for credential in ({}, {"authorization": basic("admin", TOKEN)}):
        auth = WITH_TOKEN if credential else OPEN
        assert auth.authorise(request(headers | credential)) == EVERYTHING
        with pytest.raises(Forbidden, match="another origin"):
            auth.authorise(request(headers | credential, method="POST"))


def test_a_page_of_its_own_and_a_client_that_is_no_browser_may_change_things():
    same = {"origin": "http://localhost:8080", "sec-fetch-site": "same-origin"}
    assert OPEN.authorise(request(same, method="POST", host="localhost:8080")) == EVERYTHING
    assert OPEN.authorise(request(method="POST")) == EVERYTHING


def test_access_to_one_workspace_is_narrowed_to_it():
    assert Access(7).narrow(None) == 7
    assert Access(7).narrow(7) == 7
    with pytest.raises(Forbidden):
        Access(7).narrow(8)
    assert EVERYTHING.narrow(8) == 8
    assert EVERYTHING.narrow(None) is None
