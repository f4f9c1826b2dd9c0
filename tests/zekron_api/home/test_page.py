"""The start page: HTML for browsers, JSON for everything else."""

from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from tests.zekron_api.openapi.test_reference import Page
from zekron_api.openapi.document import document

pytestmark = pytest.mark.django_db

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


@pytest.mark.parametrize("accept", [CHROMIUM, "text/html", "application/json;q=0.5, text/html"])
def test_a_browser_gets_a_page_that_leads_to_docs_and_admin(accept: Any) -> None:
    response = Client().get("/", headers={"Accept": accept})
    assert (response.status_code, response["Content-Type"]) == (200, "text/html; charset=utf-8")
    page = Page(response.content.decode())
    assert page.links >= {"/docs", "/console/", "/admin/", "/v1/openapi.json"}
    assert not page.tags & {"script", "iframe", "form", "img", "style"}
    assert document()["info"]["title"] in page.text


def test_the_page_may_load_and_send_nothing_elsewhere() -> None:
    home = Client().get("/", headers={"Accept": CHROMIUM})
    policy = dict(part.strip().split(" ", 1) for part in home["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["style-src"] == "'self'"
    assert home["X-Frame-Options"] == "DENY"


def test_the_page_tells_the_price_of_this_installation() -> None:
    assert "0.0267 USD" in Page(Client().get("/", headers={"Accept": CHROMIUM}).content.decode()).text


def test_the_page_leads_to_the_sign_up_where_it_is_open(settings: Any) -> None:
    links = [Page(Client().get("/", headers={"Accept": CHROMIUM}).content.decode()).links]
    settings.SIGNUP = "open"
    links.append(Page(Client().get("/", headers={"Accept": CHROMIUM}).content.decode()).links)
    assert ["/me/signup/" in each for each in links] == [False, True]


def test_the_showcase_is_offered_where_an_account_pays_for_it(settings: Any) -> None:
    settings.SHOWCASE_ACCOUNT = "showcase"
    page = Page(Client().get("/", headers={"Accept": CHROMIUM}).content.decode())
    assert {"script", "button", "progress"} <= page.tags


@pytest.mark.parametrize(
    "headers", [{}, {"Accept": "*/*"}, {"Accept": "application/json"}, {"Accept": "image/png"}]
)
def test_a_program_gets_json_with_links(headers: dict[str, Any]) -> None:
    response = Client().get("/", headers=headers)
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    assert response.json() == {
        "name": document()["info"]["title"],
        "version": document()["info"]["version"],
        "links": {
            "docs": f"{settings.PUBLIC_URL}/docs",
            "openapi": f"{settings.PUBLIC_URL}/v1/openapi.json",
            "health": f"{settings.PUBLIC_URL}/healthz",
        },
    }
    assert "X-RateLimit-Limit" not in response


def test_every_link_leads_somewhere() -> None:
    for link in Client().get("/").json()["links"].values():
        assert Client().get(link.removeprefix(settings.PUBLIC_URL)).status_code == 200


@pytest.mark.parametrize("accept", [CHROMIUM, "*/*"])
def test_caches_keep_the_two_forms_apart(accept: Any) -> None:
    assert "Accept" in Client().get("/", headers={"Accept": accept})["Vary"]


def test_head_is_answered_and_any_other_method_is_a_json_405() -> None:
    head = Client().head("/", headers={"Accept": CHROMIUM})
    assert (head.status_code, head.content) == (200, b"")
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        response = Client(enforce_csrf_checks=True).generic(method, "/", headers={"Accept": CHROMIUM})
        assert (response.status_code, response.json()["error"]["type"]) == (405, "method_not_allowed")
        assert response["Allow"] == "GET, HEAD"
