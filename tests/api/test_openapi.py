"""The OpenAPI document is valid, says what the application routes, and its examples are taken."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import BaseRoute, Route

from app.api.openapi.page import render_docs_page
from app.run.application import create_app
from app.settings.planning import plan_of
from app.settings.settings import Settings
from tests.support.described import check_answer
from tests.support.service import ADMIN_TOKEN, KEYS, Service

REPOSITORY = Path(__file__).resolve().parents[2]
OUTSIDE = {"/openapi.json", "/docs", "/overview", "/live", "/login", "/logout", "/_pages/{name}"}
PAGES = {("/query", "get")}


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(plan_of(Settings()))


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict:
    return json.loads(json.dumps(app.openapi()))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service")) as service:
        yield service.start()


def routed(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Route):
            path = route.path.replace(":path}", "}")
            yield from ((path, method.lower()) for method in route.methods or ())
        else:
            yield from routed(route.original_router.routes)


def test_the_document_is_valid(document):
    OpenAPIV31SpecValidator(document).validate()


def test_the_file_in_the_repository_is_the_document(document):
    """`make openapi` writes it."""
    assert json.loads((REPOSITORY / "openapi/openapi.json").read_text()) == document


def test_every_call_is_described_and_nothing_else(app, document):
    described = {
        (path, method)
        for path, calls in document["paths"].items()
        for method in calls
        if method != "parameters"
    }
    answered = {
        (path, method)
        for path, method in routed(app.router.routes)
        if path not in OUTSIDE and method != "options" and (method != "head" or path == "/files/{path}")
    }
    assert described == answered - PAGES


def test_every_reference_leads_somewhere_and_every_component_is_used(document):
    references = set(re.findall(r'"#/components/(\w+)/(\w+)"', json.dumps(document)))
    components = {
        (group, name)
        for group, members in document["components"].items()
        if group != "securitySchemes"
        for name in members
    }
    assert references == components


def test_operation_ids_are_unique(document):
    ids = [
        call["operationId"]
        for calls in document["paths"].values()
        for method, call in calls.items()
        if method != "parameters"
    ]
    assert len(ids) == len(set(ids)) > 10


@pytest.mark.parametrize("path", ["/v1/events", "/v1/logs", "/v1/snapshots"])
def test_the_examples_of_the_json_calls_are_accepted(document, service, path):
    for content_type, body in document["paths"][path]["post"]["requestBody"]["content"].items():
        for example in body["examples"].values():
            value = example["value"]
            content = value if isinstance(value, str) else json.dumps(value)
            headers = {"content-type": content_type, "x-api-key": KEYS[1]}
            response = httpx.post(service.base_url + path, content=content, headers=headers)
            rows = 1 if isinstance(value, dict) else 2
            assert (response.status_code, response.json()["accepted"]) == (202, rows), response.text


@pytest.mark.parametrize(
    ("method", "path", "call"),
    [
        ("GET", "/files", "/files"),
        ("POST", "/flush", "/flush"),
        ("GET", "/status", "/status"),
        ("GET", "/status?errors", "/status"),
        ("GET", "/usage", "/usage"),
        ("GET", "/usage?from=x", "/usage"),
        ("GET", "/health", "/health"),
        ("GET", "/ready", "/ready"),
        ("GET", "/files/none", "/files/{path}"),
        ("POST", "/v1/events", "/v1/events"),
    ],
)
def test_answers_have_the_form_that_is_described(service, method, path, call):
    headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
    response = httpx.request(method, service.base_url + path, headers=headers, timeout=30)
    check_answer(call, method, response.status_code, response.json())


def test_the_service_serves_document_and_page(document, service):
    assert httpx.get(service.base_url + "/openapi.json").json() == document
    page = httpx.get(service.base_url + "/docs")
    assert page.headers["content-type"].startswith("text/html")
    for path in document["paths"]:
        assert f"<code>{path}</code>" in page.text


def test_the_page_loads_nothing_from_elsewhere(document):
    page = render_docs_page(document)
    for loaded in ("<script", "src=", "<style", "style=", "@import", "url(", 'href="//', 'href="http'):
        assert loaded not in page
