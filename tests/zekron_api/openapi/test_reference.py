"""The reference page: everything that the document says, from this server alone."""

from contextlib import closing
from html.parser import HTMLParser

import pytest
from django.test import Client

from tests.content_policy import content_policy
from zekron_api.openapi.document import document
from zekron_api.openapi.reference import prose

pytestmark = pytest.mark.django_db


class Page(HTMLParser):
    """Text, ids, and what the page loads or leads to."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: set[str] = set()
        self.ids: set[str | None] = set()
        self.links: set[str | None] = set()
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids |= {value for name, value in attrs if name == "id"}
        self.links |= {value for name, value in attrs if name in {"href", "src", "action"}}
        assert not [name for name, _ in attrs if name == "style" or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page() -> Page:
    """Return the page as a stranger gets it."""
    return Page(Client().get("/docs").content.decode())


def test_it_is_served_without_a_key_under_a_closed_policy() -> None:
    response = Client().get("/docs")
    assert (response.status_code, response["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert content_policy(response) == {
        "default-src": "'none'",
        "style-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert response["X-Frame-Options"] == "DENY"
    assert Client().get("/docs/").status_code == 404


def test_it_loads_nothing_from_elsewhere_and_runs_nothing(page: Page) -> None:
    assert not page.tags & {"script", "iframe", "form", "img", "style"}
    for link in page.links:
        assert link.startswith(("#", "/static/", "/v1/"))
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            with closing(Client().get(link)) as found:
                assert found.status_code == 200


def test_it_shows_every_operation_field_error_and_header(page: Page) -> None:
    for path, item in document()["paths"].items():
        for operation in item.values():
            assert operation["operationId"] in page.ids
            assert operation["summary"] in page.text
        assert path in page.text
    for schema in document()["components"]["schemas"].values():
        assert all(name in page.text for name in schema["properties"])
    error = document()["components"]["schemas"]["Error"]["properties"]["error"]["properties"]
    assert all(name in page.text for name in [*error, *error["type"]["enum"]])
    assert "Idempotent-Replayed" in page.text


def test_it_shows_every_successful_reply_and_equal_fields_once(page: Page) -> None:
    operations = {
        operation["operationId"]: operation
        for item in document()["paths"].values()
        for operation in item.values()
    }
    assert set(operations["generate"]["responses"]) >= {"200", "202"}
    for operation in operations.values():
        for status, response in operation["responses"].items():
            if status < "300":
                assert f"Reply {status}" in page.text
                assert response["description"].replace("`", "") in page.text
    for content in operations["watchGeneration"]["responses"]["200"]["content"].values():
        assert all(example["value"] in page.text for example in content["examples"].values())
    assert page.text.count("Its fields are those of the reply above.") == 1


def test_a_default_is_told_as_json_writes_it(page: Page) -> None:
    assert "Default: false" in page.text
    assert "Default: False" not in page.text


def test_words_are_escaped_and_backticks_are_code() -> None:
    assert prose("a <b>\n\n`x & y`") == "<p>a &lt;b&gt;</p><p><code>x &amp; y</code></p>"
