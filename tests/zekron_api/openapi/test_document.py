"""The OpenAPI document against the service: what it says is so, and what is so it says."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import Client
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from jsonschema_rs import Draft202012Validator
from pytest_django import Settings
from rest_framework.views import APIView

from billing import accounts, ledger
from billing.models import Account
from storage import images
from tests import factories
from tests.images import picture
from tests.zekron_api import callers
from tests.zekron_api.callers import Caller, caller
from workers.messaging import enqueue, worker_registry
from workers.models import Status, UsageProgress
from workers.webhooks import outbox
from zekron_api import urls
from zekron_api.endpoints import (
    export_usage,
    generation_events,
    list_generations,
    list_ledger,
    monthly_statement,
    serializers,
    usage,
    watch_generation,
)
from zekron_api.endpoints.fields import PromptField
from zekron_api.http import errors, openai_errors
from zekron_api.openapi.document import document

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
INVISIBLE = [
    "\u200b",
    "\ufeff",
    "\ufe0f\ufe0e",
    "\u2060\u00ad",
    "\u3164",
    "\U000e0100",
    "\U000e0041 \u200d",
    "\x01",
]
# The types of errors that only the paths of OpenAI's clients have.
OF_OPENAI = {
    "invalid_form",
    "missing_image",
    "model_not_found",
    "unsupported_endpoint",
    "unsupported_file_id",
    "unsupported_image_url",
}
UNDESCRIBED = {"docs", "mcp", "metrics", "stripe/webhook", "v1/openapi.json"}


def served_methods(path: str, view: Any) -> set[str]:
    """Return the methods that a route answers with anything but 405."""
    if issubclass(getattr(view, "cls", object), APIView):
        # Django's View answers HEAD wherever there is a GET.
        has = {name: hasattr(view.cls, "get" if name == "head" else name) for name in METHODS}
        return {name for name in view.cls.http_method_names if has[name]}
    ask = Client(raise_request_exception=False)
    return {name for name in METHODS if ask.generic(name.upper(), f"/{path}").status_code != 405}


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation, of each operation of the document."""
    paths = document()["paths"].items()
    return [(path, method, item[method]) for path, item in paths for method in METHODS if method in item]


def problems(schema: dict[str, Any], value: object) -> list[str]:
    """Return what is wrong with a value by a schema of the document."""
    validator = Draft202012Validator({**schema, "components": document()["components"]})
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]


def check(path: str, method: str, response: Any) -> None:
    """Hold a real reply to what the document says of it: status, type, headers, every field."""
    described = document()["paths"][path][method]["responses"][str(response.status_code)]
    assert (
        (response["Content-Type"].partition(";")[0] in described["content"])
        if response.content
        else "content" not in described
    )
    for name, reference in described["headers"].items():
        header = document()["components"]["headers"][reference["$ref"].rpartition("/")[2]]
        assert name in response or "required" not in header, name
        if name in response:
            assert problems(header["schema"], response[name]) == []
    if response["Content-Type"] == "application/json":
        schema = described["content"]["application/json"]["schema"]
        assert problems(schema, response.json()) == []


@pytest.mark.django_db
def test_every_route_is_described_with_exactly_its_methods() -> None:
    patterns: list[Any] = urls.urlpatterns
    routes = {str(route.pattern): route.callback for route in patterns if getattr(route, "callback", None)}
    routes = {path: view for path, view in routes.items() if path not in UNDESCRIBED}
    described = {
        path: {name for name in item if name in METHODS} for path, item in document()["paths"].items()
    }
    assert set(described) == {"/" + path.replace("<str:", "{").replace(">", "}") for path in routes}
    for path, view in routes.items():
        methods = served_methods(path, view)
        assert ("head" in methods) == ("get" in methods)
        assert described["/" + path.replace("<str:", "{").replace(">", "}")] == methods - {"head"}


def test_the_document_is_valid_and_made_without_a_warning() -> None:
    GENERATOR_STATS.reset()
    made = SchemaGenerator().get_schema(request=None, public=True)
    assert not GENERATOR_STATS
    validate_schema(made)
    assert made["openapi"].startswith("3.1")
    assert made == document()


def test_every_operation_says_what_it_is_and_who_may_ask() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    for path, _, operation in operations():
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]
        assert operation["security"] == ([{"apiKey": []}] if path.startswith("/v1/") else [])
    assert document()["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"


def test_a_type_is_named_once() -> None:
    def types(value: Any) -> Iterator[list[str]]:
        if isinstance(value, dict):
            if isinstance(value.get("type"), list):
                yield value["type"]
            value = list(value.values())
        for item in value if isinstance(value, list) else []:
            yield from types(item)

    found = list(types(document()))
    assert len(found) > 10
    assert [names for names in found if len(names) != len(set(names))] == []


def test_every_example_is_what_its_schema_says() -> None:
    shown = 0
    for _, _, operation in operations():
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in (content for body in bodies for content in body.get("content", {}).values()):
            for example in content.get("examples", {}).values():
                shown += 1
                assert problems(content["schema"], example["value"]) == []
    assert shown > 50


def test_a_request_has_the_fields_that_are_read() -> None:
    body = document()["components"]["schemas"]["GenerateRequest"]["properties"]
    assert list(body) == list(serializers.GenerateSerializer().fields)
    for path, query in (
        ("/v1/generations", list_generations.PageSerializer()),
        ("/v1/generations/{generation_id}", watch_generation.PollSerializer()),
        ("/v1/generations/{generation_id}/events", generation_events.EventsSerializer()),
        ("/v1/usage", usage.UsageQuerySerializer()),
        ("/v1/usage/export", export_usage.ExportQuerySerializer()),
        ("/v1/ledger", list_ledger.LedgerQuerySerializer()),
        ("/v1/statements/{month}", monthly_statement.StatementQuerySerializer()),
    ):
        parameters = document()["paths"][path]["get"]["parameters"]
        assert [field["name"] for field in parameters if field["in"] == "query"] == list(query.fields)


def test_a_prompt_is_blank_for_the_document_if_it_is_for_us() -> None:
    prompt = document()["components"]["schemas"]["GenerateRequest"]["properties"]["prompt"]
    spaces = [chr(point) for point in range(0x3100) if chr(point).isspace()]
    assert len(spaces) > 20
    for text in [*spaces, *INVISIBLE, "a\0b", "\0", "", "x" * 4001]:
        assert problems(prompt, text)
        with pytest.raises(errors.InvalidField):
            PromptField().checked(text)
    for text in [
        "x",
        " x\n",
        "\x1cx\x85",
        "x" * 4000,
        "\u200b\U0001f3d6\ufe0f",
        "\u0301",
        "\ue000",
        "\U000e1000",
    ]:
        assert problems(prompt, text) == []
        assert PromptField().checked(text) == text


def test_a_whole_number_is_one_for_the_document_if_it_is_for_us() -> None:
    schema = document()["components"]["schemas"]["GenerateRequest"]["properties"]["queue_ttl"]
    field: Any = serializers.GenerateSerializer().fields["queue_ttl"]
    for value in (10, 60, 60.0, 86_400, 8.64e4):
        assert problems(schema, value) == []
        assert field.checked(value) == value
        assert isinstance(field.checked(value), int)
    wrongs: list[Any] = [9, 9.0, 86_401, 60.5, "60", True, -1, [], {}]
    for wrong in wrongs:
        assert problems(schema, wrong)
        with pytest.raises(errors.InvalidField):
            field.checked(wrong)


def test_every_error_that_the_table_or_a_field_knows_is_described() -> None:
    told = {
        name
        for _, _, operation in operations()
        for status, response in operation["responses"].items()
        if int(status) >= 400 and "examples" in response["content"]["application/json"]
        for name in document_types(response["content"]["application/json"]["schema"])
    } | OF_OPENAI
    known = {error_type for _, _, error_type, _ in errors.TABLE} | {errors.INTERNAL[1]} | field_types()
    assert told == known - {""}
    everything = document()["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["type"]
    assert set(everything["enum"]) == known - OF_OPENAI - {""}


def document_types(schema: dict[str, Any]) -> list[str]:
    """Return the types that a response narrows the envelope to."""
    if "allOf" not in schema:
        return []
    return schema["allOf"][1]["properties"]["error"]["properties"].get("type", {"enum": []})["enum"]


def test_every_error_of_openais_paths_alone_is_described() -> None:
    codes = set[str]()
    for path, _, operation in operations():
        if openai_errors.is_for(path):
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    schema = response["content"]["application/json"]["schema"]
                    codes |= set(schema["allOf"][1]["properties"]["error"]["properties"]["code"]["enum"])
    assert codes >= OF_OPENAI


def field_types() -> set[str]:
    """Return the types that are raised with InvalidField anywhere in the code."""
    folder = Path(errors.__file__).parents[1]
    calls = (
        node
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "InvalidField"
    )
    return {ast.literal_eval(call.args[0]) for call in calls}


@pytest.mark.django_db
def test_the_document_is_served_without_a_key() -> None:
    response = Client().get("/v1/openapi.json")
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    assert response.json() == document()
    assert Client().head("/v1/openapi.json").status_code == 200
    assert Client().post("/v1/openapi.json").json()["error"]["type"] == "method_not_allowed"


@pytest.mark.django_db(transaction=True)
def test_what_is_made_and_read_is_as_described(me: Caller, engine: factories.StandInEngine) -> None:
    created = me.generate(size="1024x1024")
    check("/v1/generate", "post", created)
    check("/v1/generate", "post", me.generate(images=[{"data": picture()}]))
    for is_replay in (False, True):
        named = me.post("/v1/generate", {"prompt": "a boat"}, **{"Idempotency-Key": "boat"})
        check("/v1/generate", "post", named)
        assert ("Idempotent-Replayed" in named) == is_replay
    other = me.post("/v1/generate", {"prompt": "a ship"}, **{"Idempotency-Key": "boat"})
    check("/v1/generate", "post", other)
    assert other.status_code == 422
    check("/v1/images/{token}", "get", me.get(f"/v1/images/{created.json()['data']['token']}"))
    check("/v1/balance", "get", me.get("/v1/balance"))
    check("/v1/quote", "post", me.post("/v1/quote", {"prompt": "a boat", "images": 2}))
    code, payer = factories.redemption_code(), callers.payer()
    for is_replay in (False, True):
        redeemed = payer.post("/v1/redemptions", {"code": code})
        check("/v1/redemptions", "post", redeemed)
        assert ("Idempotent-Replayed" in redeemed) == is_replay
    check("/v1/models", "get", me.get("/v1/models"))
    check("/v1/models/{model_id}", "get", me.get("/v1/models/zekron-image-1"))
    check("/v1/models/{model_id}", "get", me.get("/v1/models/gpt-image-1"))
    check("/v1/generations", "get", me.get("/v1/generations?limit=1"))
    deleted = me.delete(f"/v1/images/{created.json()['data']['token']}")
    check("/v1/images/{token}", "delete", deleted)
    assert deleted.status_code == 204
    factories.expire_image(created.json()["data"]["id"])
    images.purge()
    check("/v1/images/{token}", "get", me.get(f"/v1/images/{created.json()['data']['token']}"))


@pytest.mark.django_db
def test_usage_and_money_are_as_described(me: Caller) -> None:
    for status in Status:
        factories.generation_in(status, me.account)
    for query in ("", "?group_by=key,model,type,size,metadata.a", "?bucket=week"):
        check("/v1/usage", "get", me.get(f"/v1/usage{query}"))
    for query in ("", "?format=jsonl", "?format=xlsx"):
        check("/v1/usage/export", "get", me.get(f"/v1/usage/export{query}"))
    for query in ("", "?limit=1", "?kind=gift"):
        check("/v1/ledger", "get", me.get(f"/v1/ledger{query}"))
    Account.objects.update(created_at=datetime(2000, 2, 29, tzinfo=UTC))
    UsageProgress.objects.create(closed_until=datetime(2000, 4, 1, tzinfo=UTC))
    for month, status_code in (
        ("2000-03", 200),
        ("2000-03?format=csv", 200),
        ("2000-01", 404),
        ("2000-04", 400),
    ):
        statement = me.get(f"/v1/statements/{month}")
        assert statement.status_code == status_code
        check("/v1/statements/{month}", "get", statement)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("status", list(Status))
def test_the_history_is_as_described_in_every_status(me: Caller, status: Any) -> None:
    generation = factories.generation_in(status, me.account)
    check("/v1/generations", "get", me.get("/v1/generations"))
    path = f"/v1/generations/{generation.pk}"
    check("/v1/generations/{generation_id}", "get", me.get(path))
    watched = me.get(f"{path}/events")
    check("/v1/generations/{generation_id}/events", "get", watched)
    last = re.findall(rb"^id: ([0-9]+)$", watched.content, re.MULTILINE)[-1].decode()
    again = me.get(f"{path}/events", **{"Last-Event-ID": last})
    assert again.status_code == (200 if generation.is_open else 204)
    check("/v1/generations/{generation_id}", "delete", me.delete(path))
    check("/v1/generations/{generation_id}/cancel", "post", me.post(f"{path}/cancel", {}))


@pytest.mark.django_db(transaction=True)
def test_a_request_that_does_not_wait_is_as_described(
    me: Caller, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueue, "send", lambda *, generation_id: None)
    path, body, named = "/v1/generate", {"prompt": "a boat"}, {"Idempotency-Key": "boat"}
    for headers in ({"Prefer": "respond-async, wait=0"}, {"Prefer": "respond-async", **named}):
        accepted = me.post(path, body, **headers)
        assert accepted.status_code == 202
        check(path, "post", accepted)
    events = me.post(path, body, **named, Accept="text/event-stream")
    assert (events.status_code, events["Content-Type"]) == (200, "text/event-stream")
    check(path, "post", events)
    settings.SYNC_WAIT_SECONDS = 1
    late = me.post(path, body, **named)
    assert late.status_code == 504
    check(path, "post", late)
    check(path, "post", me.post(path, {**body, "queue_ttl": 60}))
    settings.QUEUE_LIMIT = 0
    check(path, "post", me.post(path, {**body, "async": True}))


@pytest.mark.django_db(transaction=True)
def test_a_client_whose_generation_is_cancelled_is_told_as_described(
    me: Caller, idle_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancel(*, generation_id: int) -> None:
        check(
            "/v1/generations/{generation_id}/cancel",
            "post",
            me.post(f"/v1/generations/{generation_id}/cancel", {}),
        )

    monkeypatch.setattr(enqueue, "send", cancel)
    told = me.generate()
    assert told.status_code == 409
    check("/v1/generate", "post", told)


@pytest.mark.django_db(transaction=True)
def test_every_refusal_is_as_described(me: Caller, stranger: Caller, idle_worker: None) -> None:
    path = "/v1/generate"
    for body in ({}, {"prompt": "x", "size": "1x1"}, {"prompt": "x", "images": [{}]}):
        check(path, "post", me.post(path, body))
    check("/v1/quote", "post", me.post("/v1/quote", {"prompt": "x", "images": 3}))
    for code in ({}, {"code": "x"}, b"{"):
        check("/v1/redemptions", "post", callers.payer().post("/v1/redemptions", code))
    check(path, "post", me.post(path, b"{"))
    check(path, "post", me.post(path, {"prompt": "x"}, **{"Idempotency-Key": "x" * 256}))
    check(path, "post", Client().post(path))
    check(path, "post", me._replace(key="zk_live_unknown").generate())
    check(path, "post", caller(balance_micros=100).generate())
    check(path, "post", me.client.post(path, "x", content_type="text/plain", headers=me._headers({})))
    check("/v1/images/{token}", "get", me.get("/v1/images/" + "0" * 64))
    check("/v1/images/{token}", "get", me.post("/v1/images/" + "0" * 64, {}))
    check("/v1/generations", "get", me.get("/v1/generations?limit=0"))
    for query in ("1", "1?wait=-1", "1?include=url"):
        check("/v1/generations/{generation_id}", "get", me.get(f"/v1/generations/{query}"))
    check("/v1/generations/{generation_id}", "delete", me.delete("/v1/generations/1"))
    check("/v1/generations/{generation_id}/cancel", "post", me.post("/v1/generations/1/cancel", {}))
    check("/v1/images/{token}", "delete", me.delete("/v1/images/" + "0" * 64))
    for query in ("1/events", "1/events?include=url"):
        check("/v1/generations/{generation_id}/events", "get", me.get(f"/v1/generations/{query}"))
    check("/v1/balance", "get", Client(headers={"Host": "evil.example"}).get("/v1/balance"))
    accounts.suspend(account_id=stranger.account.pk)
    check(path, "post", stranger.generate())


@pytest.mark.django_db
def test_a_top_up_by_card_is_as_described(stripe: Any) -> None:
    path, me = "/v1/top-ups", callers.payer()
    check(path, "get", caller().get(path))
    made = me.post(path, {"amount": "25.00"})
    assert made.status_code == 201
    check(path, "post", made)
    check(path, "get", me.get(path))
    check(f"{path}/{{top_up_id}}", "get", me.get(f"{path}/{made.json()['data']['id']}"))
    check(f"{path}/{{top_up_id}}", "get", me.get(f"{path}/7"))
    for amount in (7, "7", "0.01"):
        check(path, "post", me.post(path, {"amount": amount}))
    stripe.failure = 500
    check(path, "post", me.post(path, {"amount": "25.00"}))
    ledger.reverse(
        account_id=me.account.pk, amount_micros=20_000_000, actor="a", reason="r", request_id=uuid4()
    )
    balance = me.get("/v1/balance")
    assert balance.json()["data"]["debt"] == "10.0000"
    check("/v1/balance", "get", balance)


@pytest.mark.django_db
def test_webhooks_are_as_described(monkeypatch: pytest.MonkeyPatch) -> None:
    me = callers.receiver()
    monkeypatch.setattr(outbox, "wake", lambda: None)
    made = me.post("/v1/webhooks", {"url": "https://8.8.8.8/"})
    path, described = f"/v1/webhooks/{made.json()['data']['id']}", "/v1/webhooks/{webhook_id}"
    check("/v1/webhooks", "post", made)
    check("/v1/webhooks", "post", me.post("/v1/webhooks", {"url": "https://10.0.0.1/"}))
    check("/v1/webhooks", "get", me.get("/v1/webhooks"))
    check("/v1/webhooks/secret", "get", me.get("/v1/webhooks/secret"))
    check(described, "get", me.get(path))
    change = partial(me.client.patch, content_type="application/json", headers=me._headers({}))
    check(described, "patch", change(path, {"description": "mine"}))
    check(f"{described}/rotate", "post", me.post(f"{path}/rotate", {}))
    sent = me.post(f"{path}/test", {})
    check(f"{described}/test", "post", sent)
    check(f"{described}/deliveries", "get", me.get(f"{path}/deliveries"))
    replay = f"/deliveries/{sent.json()['data']['id']}/replay"
    for _ in range(2):
        check(f"{described}/deliveries/{{delivery_id}}/replay", "post", me.post(path + replay, {}))
        body = {"since": "2026-01-01T00:00:00Z"}
        check(f"{described}/recover", "post", me.post(f"{path}/recover", body))
        check(f"{described}/test", "post", me.post(f"{path}/test", {}))
        check(described, "patch", change(path, {"enabled": False}))
    check(f"{described}/recover", "post", me.post(f"{path}/recover", {}))
    check(described, "delete", me.delete(path))
    check(described, "get", me.get(path))


@pytest.mark.django_db(transaction=True)
def test_every_limit_is_as_described(me: Caller, idle_worker: None, settings: Settings) -> None:
    path = "/v1/generate"
    settings.SYNC_WAIT_SECONDS = 0
    check(path, "post", me.generate())
    settings.OPEN_GENERATIONS_LIMIT = 0
    check(path, "post", me.generate())
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    check(path, "post", me.generate())
    settings.FAILED_REDEMPTIONS_PER_HOUR_OF_ACCOUNT = 0
    check("/v1/redemptions", "post", callers.payer().post("/v1/redemptions", {"code": "x"}))
    settings.REQUESTS_PER_MINUTE = settings.POLLS_PER_MINUTE = 0
    check("/v1/balance", "get", me.get("/v1/balance"))
    check("/v1/generations/{generation_id}", "get", me.get("/v1/generations/1"))


@pytest.mark.django_db(transaction=True)
def test_a_queue_that_is_too_long_is_as_described(me: Caller) -> None:
    refused = me.generate()
    assert refused.status_code == 503
    check("/v1/generate", "post", refused)


@pytest.mark.django_db(transaction=True)
def test_an_error_of_ours_is_as_described(me: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*, generation_id: int) -> None:
        raise RuntimeError

    monkeypatch.setattr(enqueue, "send", fail)
    monkeypatch.setattr("zekron_api.endpoints.response_bodies.balance_reply", fail)
    check("/v1/balance", "get", me.get("/v1/balance"))


@pytest.mark.django_db(transaction=True)
def test_health_is_as_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zekron_api.ops.readiness.FRESH_SECONDS", 0.0)
    unready = Client().get("/readyz")
    assert unready.status_code == 503
    check("/readyz", "get", unready)
    check("/readyz", "get", Client().get("/readyz?of=web"))
    check("/readyz", "get", Client().get("/readyz?of=gpu"))
    worker_registry.publish(worker_name="gpu@test")
    ready = Client().get("/readyz")
    assert ready.status_code == 200
    check("/readyz", "get", ready)
    check("/healthz", "get", Client().get("/healthz"))


def test_the_servers_address_is_the_public_one() -> None:
    assert document()["servers"] == [{"url": settings.PUBLIC_URL}]
