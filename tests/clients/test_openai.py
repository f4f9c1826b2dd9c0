"""OpenAI's own clients, unchanged: every call for images, and each error as the exception that they have for it."""

import base64
import io
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from billing.models import Account
from tests import images, processes
from tests.clients import calls, environments
from tests.clients import stack as service
from tests.clients.calls import Program
from tests.clients.stack import HELD_MODEL, MODEL, Customer, Stack
from workers.imaging import masks
from workers.models import Generation
from zekron_api.http import rate_limit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes, pytest.mark.clients]
BODY = {"model": MODEL, "prompt": "a boat", "size": "256x256"}
HELD = {**BODY, "model": HELD_MODEL}


class Client(NamedTuple):
    """A client, and whether its calls are those of asyncio."""

    program: Program
    is_node: bool = False
    is_async: bool = False

    def as_customer(
        self, customer: Customer, *, url: str = "", max_retries: int | None = 0
    ) -> dict[str, Any]:
        """Return the first argument of a call: who calls, and where."""
        options = {
            "base_url": f"{url or customer.server.url}/v1",
            "key": customer.key,
            "max_retries": max_retries,
        }
        return options if self.is_node else {**options, "is_async": self.is_async}

    def start(self, call: str, customer: Customer, **arguments: Any) -> "Future[dict[str, Any]]":
        """Start a call of the customer that is tried once."""
        return self.program.start(call, client=self.as_customer(customer), **arguments)

    def call(self, call: str, customer: Customer, **arguments: Any) -> dict[str, Any]:
        """Return the result of a call of the customer."""
        return self.start(call, customer, **arguments).result(calls.TIMEOUT_SECONDS)

    def error_of(self, call: str, customer: Customer, **arguments: Any) -> dict[str, Any]:
        """Return the error of a call of the customer that is tried once."""
        return self.program.error_of(call, client=self.as_customer(customer), **arguments)


@pytest.fixture(scope="module")
def programs() -> Iterator[Callable[[str], Client]]:
    """Return a function that gives the client of this name, and starts its program at the first time."""
    running: dict[str, Program] = {}
    with ExitStack() as stack:

        def find(name: str) -> Client:
            release, _, mode = name.partition(" ")
            if release not in running:
                if release == "node":
                    program = calls.in_node("openai.mjs", packages=["openai"])
                else:
                    program = calls.in_python("openai_calls", python=environments.find(release))
                running[release] = stack.enter_context(program)
            return Client(running[release], is_node=release == "node", is_async=mode == "async")

        yield find


OTHER = "openai-3.3.1"
OTHERS = [OTHER, f"{OTHER} async"] if environments.is_installed(OTHER) else []


def test_another_release_is_called_too() -> None:
    environments.find(OTHER)


@pytest.fixture(params=["python", "python async", "node", *OTHERS])
def client(request: pytest.FixtureRequest, programs: Callable[[str], Client]) -> Client:
    """Return each client in turn."""
    return programs(request.param)


@pytest.fixture
def me(stack: Stack) -> Customer:
    """Open an account."""
    return stack.customer()


@pytest.fixture
def boats(tmp_path: Path) -> list[str]:
    """Write two files of images, and a mask of their size."""
    paths = [tmp_path / name for name in ("one.png", "two.jpeg", "mask.png")]
    picture = images.halves(512, 512)
    picture.save(paths[0])
    picture.save(paths[1])
    mask = Image.new("RGBA", (512, 512), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 256, 512))
    mask.save(paths[2])
    return [str(path) for path in paths]


def _open(content: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_an_image_comes_with_typed_objects_and_what_only_this_service_tells(
    client: Client, me: Customer
) -> None:
    result = client.call("generate", me, body={**BODY, "seed": 7, "quality": "high", "user": "u"})
    body = result["body"]
    [image] = body["data"]
    assert _open(image["b64_json"]).size == (256, 256)
    assert me.server.ask(f"/v1/images/{image['url'].rpartition('/')[2]}").content == base64.b64decode(
        image["b64_json"]
    )
    assert (image["seed"], body["usage"]["currency"]) == (7, "USD")
    assert body["usage"]["output_tokens"] == 16 * 16
    assert float(me.spent()) == float(body["usage"]["cost"]) == float(result["headers"]["x-zekron-cost"])
    assert result["request_id"] == result["headers"]["x-request-id"]
    if not client.is_node:
        assert result["types"] == ["ImagesResponse", "Usage"]
        assert (result["seeds"], result["cost"]) == ([7], body["usage"]["cost"])


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
def test_several_images_have_the_format_that_was_asked_for(
    client: Client, me: Customer, file_format: str
) -> None:
    body = client.call("generate", me, body={**BODY, "n": 2, "output_format": file_format})["body"]
    assert body["output_format"] == file_format
    assert [_open(image["b64_json"]).format for image in body["data"]] == [file_format.upper()] * 2
    assert float(me.spent()) == float(body["usage"]["cost"])


def test_a_reply_has_the_kind_of_content_that_was_asked_for(client: Client, me: Customer) -> None:
    for kind, other in (("url", "b64_json"), ("b64_json", "url")):
        [image] = client.call("generate", me, body={**BODY, "response_format": kind})["body"]["data"]
        assert image[kind]
        assert image.get(other) is None


@pytest.mark.parametrize("way", ["bytes", "file", "path", "named", "typed", "headed", "response"])
def test_files_can_be_given_in_every_way(client: Client, me: Customer, boats: list[str], way: str) -> None:
    if way in ({"path", "headed"} if client.is_node else {"response"}):
        pytest.skip("this client has no such way")
    fields = {"body": {"model": MODEL, "prompt": "a boat", "size": "256x256"}, "way": way}
    for files, one in ((boats[:1], True), (boats[:1], False), (boats[:2], False)):
        client.call("edit", me, files=files, one=one, **fields)
        assert Generation.objects.latest("pk").source_sizes == [(512, 512)] * len(files)


def test_a_mask_comes_with_the_first_image(client: Client, me: Customer, boats: list[str]) -> None:
    service.show_worker()
    edit = client.start("edit", me, files=boats[:1], way="named", mask=boats[2], body=HELD)
    row = me.claim()
    assert (row.parameters[masks.PARAMETER], row.parameters["width"]) == (True, 256)
    service.finish(row)
    [image] = edit.result(calls.TIMEOUT_SECONDS)["body"]["data"]
    assert base64.b64decode(image["b64_json"]) == b"png"


@pytest.mark.parametrize("is_edit", [False, True])
def test_a_stream_has_typed_events(client: Client, me: Customer, boats: list[str], is_edit: bool) -> None:
    service.show_worker()
    body = {**HELD, "stream": True, "partial_images": 2}
    more = {"files": boats[:1], "way": "bytes"} if is_edit else {}
    stream = client.start("edit" if is_edit else "generate", me, body=body, **more)
    row = me.claim()
    for index in range(2):
        service.publish_partial(row, index, b"rough %d" % index)
    service.finish(row)
    *partials, last = stream.result(calls.TIMEOUT_SECONDS)["events"]
    name = "image_edit" if is_edit else "image_generation"
    # The image may be done before its partial images are sent.
    assert [event["type"] for event in partials] == [f"{name}.partial_image"] * len(partials)
    assert [event["partial_image_index"] for event in partials] == list(range(2))[: len(partials)]
    assert last["type"] == f"{name}.completed"
    assert base64.b64decode(last["b64_json"]) == b"png"
    assert (last["output_format"], last["size"]) == ("png", "256x256")
    assert float(last["usage"]["cost"]) == float(me.spent())
    if not client.is_node:
        prefix = "ImageEdit" if is_edit else "ImageGen"
        assert [event["class"] for event in partials] == [f"{prefix}PartialImageEvent"] * len(partials)
        assert last["class"] == f"{prefix}CompletedEvent"


def test_a_stream_of_several_images_has_an_event_for_each(client: Client, me: Customer) -> None:
    events = client.call("generate", me, body={**BODY, "n": 3, "stream": True, "seed": 7})["events"]
    assert [event["type"] for event in events] == ["image_generation.completed"] * 3
    assert sorted((event["image_index"], event["seed"]) for event in events) == [(0, 7), (1, 8), (2, 9)]
    assert all(_open(event["b64_json"]).size == (256, 256) for event in events)


def test_a_stream_raises_the_error_of_an_image_that_fails(client: Client, me: Customer) -> None:
    service.show_worker()
    stream = client.start("generate", me, body={**HELD, "stream": True})
    service.fail(me.claim())
    error = stream.exception(calls.TIMEOUT_SECONDS)
    assert isinstance(error, calls.Refused)
    assert error.error["class"] == "APIError"
    assert error.error["code"] == "generation_failed"
    assert me.spent() == 0


def test_models_are_listed_and_found(client: Client, me: Customer) -> None:
    models = {model["id"]: model for model in client.call("list_models", me)["models"]}
    assert {MODEL, HELD_MODEL, *service.ALIASES} == set(models)
    assert {model["object"] for model in models.values()} == {"model"}
    assert client.call("retrieve_model", me, model=MODEL)["body"] == models[MODEL]


Arrange = Callable[[Stack], Customer]


def _usual(stack: Stack) -> Customer:
    return stack.customer()


def _with_wrong_key(stack: Stack) -> Customer:
    me = stack.customer()
    return Customer(me.account, me.server._replace(key=me.key[:-1] + "-"))


def _without_money(stack: Stack) -> Customer:
    return stack.customer(balance_micros=0)


def _suspended(stack: Stack) -> Customer:
    me = stack.customer()
    me.account.status = Account.Status.SUSPENDED
    me.account.save()
    return me


def _over_the_rate(stack: Stack) -> Customer:
    me = stack.customer()
    for _ in range(60):
        rate_limit.consume(account=me.account)
    return me


def _without_worker(stack: Stack) -> Customer:
    me = stack.customer()
    service.hide_worker(me)
    return me


@pytest.mark.parametrize(
    ("arrange", "change", "name", "status", "error_type", "code", "param"),
    [
        (
            _usual,
            {"size": "100x100"},
            "BadRequestError",
            400,
            "invalid_request_error",
            "invalid_size",
            "size",
        ),
        (_usual, {"prompt": ""}, "BadRequestError", 400, "invalid_request_error", "missing_prompt", "prompt"),
        (
            *(_usual, {"model": "dall-e-3"}, "BadRequestError", 400),
            *("invalid_request_error", "model_not_found", "model"),
        ),
        (_with_wrong_key, {}, "AuthenticationError", 401, "invalid_request_error", "invalid_api_key", None),
        (_without_money, {}, "APIStatusError", 402, "insufficient_quota", "insufficient_balance", None),
        (_suspended, {}, "PermissionDeniedError", 403, "permission_error", "access_denied", None),
        (_over_the_rate, {}, "RateLimitError", 429, "rate_limit_error", "rate_limit_exceeded", None),
        (
            *(_without_worker, {"model": HELD_MODEL}, "InternalServerError", 503),
            *("server_error", "service_busy", None),
        ),
    ],
)
def test_each_refusal_is_the_exception_of_its_status(
    *,
    stack: Stack,
    client: Client,
    arrange: Arrange,
    change: dict[str, Any],
    name: str,
    status: int,
    error_type: str,
    code: str,
    param: str | None,
) -> None:
    error = client.error_of("generate", arrange(stack), body={**BODY, **change})
    # Node's package has no name for a status without a class of its own.
    expected = "APIError" if client.is_node and name == "APIStatusError" else name
    assert (error["class"], error["status"]) == (expected, status)
    assert (error["type"], error["code"], error["param"]) == (error_type, code, param)
    assert error["request_id"]
    assert not Generation.objects.exists()


def test_a_model_that_is_not_there_is_not_found(client: Client, me: Customer) -> None:
    error = client.error_of("retrieve_model", me, model="dall-e-3")
    assert (error["class"], error["status"], error["code"]) == ("NotFoundError", 404, "model_not_found")


def test_variations_are_refused_with_what_to_use_instead(
    client: Client, me: Customer, boats: list[str]
) -> None:
    error = client.error_of("vary", me, files=boats[:1], way="file", one=True)
    assert (error["class"], error["code"]) == ("BadRequestError", "unsupported_endpoint")


def test_a_key_of_another_request_cannot_be_processed(client: Client, me: Customer) -> None:
    headers = {"Idempotency-Key": "order-7"}
    first = client.call("generate", me, body=BODY, headers=headers)
    again = client.call("generate", me, body=BODY, headers=headers)
    assert again["headers"]["idempotent-replayed"] == "true"
    assert again["body"] == first["body"]
    error = client.error_of("generate", me, body={**BODY, "prompt": "a house"}, headers=headers)
    assert (error["class"], error["status"]) == ("UnprocessableEntityError", 422)
    assert error["code"] == "idempotency_key_reused"
    assert float(me.spent()) == float(first["body"]["usage"]["cost"])


def test_an_image_that_fails_is_free_and_not_asked_for_again(client: Client, me: Customer) -> None:
    service.show_worker()
    options = client.as_customer(me, max_retries=None)
    failing = client.program.start("generate", client=options, body=HELD)
    service.fail(me.claim())
    error = failing.exception(calls.TIMEOUT_SECONDS)
    assert isinstance(error, calls.Refused)
    assert (error.error["class"], error.error["status"]) == ("InternalServerError", 500)
    assert error.error["code"] == "generation_failed"
    assert Generation.objects.count() == 1
    assert me.spent() == 0


def test_an_image_that_takes_too_long_is_not_bought_again(stack: Stack, client: Client, me: Customer) -> None:
    service.show_worker()
    options = client.as_customer(me, url=stack.impatient.url, max_retries=None)
    waiting = client.program.start("generate", client=options, body=HELD)
    row = me.claim()
    error = waiting.exception(calls.TIMEOUT_SECONDS)
    assert isinstance(error, calls.Refused)
    assert (error.error["class"], error.error["status"]) == ("InternalServerError", 504)
    assert error.error["code"] == "generation_timeout"
    service.finish(row)
    assert (Generation.objects.count(), float(me.spent())) == (1, row.quote_micros / 1_000_000)


def test_a_retry_after_503_is_charged_once(stack: Stack, client: Client, me: Customer) -> None:
    # One image before it takes a second longer than a request may wait.
    other = stack.customer()
    service.show_worker(seconds_per_image=56.0)
    first = client.start("generate", other, body=HELD)
    row = other.claim()
    processes.wait_until(lambda: other.expected_seconds(HELD_MODEL) > 55)
    options = client.as_customer(me, max_retries=None)
    logged = len(stack.read_log())
    retried = client.program.start("generate", client=options, body=HELD)
    processes.wait_until(lambda: stack.has_logged(" 503 service_busy", after=logged))
    service.show_worker()
    service.finish(row)
    service.finish(me.claim())
    first.result(calls.TIMEOUT_SECONDS)
    result = retried.result(calls.TIMEOUT_SECONDS)
    assert float(me.spent()) == float(result["body"]["usage"]["cost"])
    assert Generation.objects.filter(account=me.account).count() == 1


def test_a_retry_after_a_cut_connection_gets_the_same_image_at_one_charge(
    stack: Stack, client: Client, me: Customer
) -> None:
    service.show_worker()
    with service.proxy_before(stack) as proxy:
        options = client.as_customer(me, url=f"http://127.0.0.1:{proxy.port}", max_retries=None)
        cut_off = client.program.start("generate", client=options, body=HELD)
        row = me.claim()
        proxy.cut()
        proxy.restore()
        # The service notices the loss before the client tries again.
        processes.wait_until(lambda: _is_lost(row) or cut_off.done())
        service.finish(row)
        result = cut_off.result(calls.TIMEOUT_SECONDS)
    assert result["headers"]["x-zekron-retry-attached"] == "true"
    assert result["body"]["data"][0]["id"] == row.pk
    assert float(me.spent()) == float(result["body"]["usage"]["cost"])
    assert Generation.objects.count() == 1


def _is_lost(row: Generation) -> bool:
    return Generation.objects.filter(pk=row.pk, client_lost_at__isnull=False).exists()
