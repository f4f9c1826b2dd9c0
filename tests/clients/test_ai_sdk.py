"""The npm package `ai` with its providers, unchanged: images, files, errors, and what its own retries cost."""

import base64
import io
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from tests import images, processes
from tests.clients import calls
from tests.clients import stack as service
from tests.clients.calls import Program
from tests.clients.stack import HELD_MODEL, MODEL, Customer, Stack
from workers.imaging import masks
from workers.models import Generation

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes, pytest.mark.clients]
PACKAGES = ["ai", "@ai-sdk/openai", "@ai-sdk/openai-compatible"]
KEY = {"Idempotency-Key": "order-7"}
# The package repeats both by itself, without a count of its tries.
WITH_AND_WITHOUT_A_KEY = pytest.mark.parametrize(
    ("headers", "found_by"), [(KEY, "idempotent-replayed"), ({}, "x-zekron-retry-attached")]
)


class Client(NamedTuple):
    """The package with one of its providers."""

    program: Program
    provider: str

    def start(
        self, customer: Customer, *, url: str = "", model: str = MODEL, **fields: Any
    ) -> "Future[dict[str, Any]]":
        """Start a call for an image of 256x256. `options` are those of `generateImage`."""
        named = {name: fields.pop(name) for name in ("files", "mask") if name in fields}
        return self.program.start(
            "generate",
            client={"base_url": f"{url or customer.server.url}/v1", "key": customer.key},
            provider=self.provider,
            model=model,
            prompt="a boat",
            options={"size": "256x256", **fields},
            **named,
        )

    def generate(self, customer: Customer, **fields: Any) -> dict[str, Any]:
        """Return the result of a call."""
        return self.start(customer, **fields).result(calls.TIMEOUT_SECONDS)


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    """Start the program of both providers."""
    with calls.in_node("ai.mjs", packages=PACKAGES) as program:
        yield program


@pytest.fixture(params=["openai", "compatible"])
def client(request: pytest.FixtureRequest, program: Program) -> Client:
    """Return each provider in turn."""
    return Client(program, request.param)


@pytest.fixture
def me(stack: Stack) -> Customer:
    """Open an account."""
    return stack.customer()


@pytest.fixture
def boats(tmp_path: Path) -> list[str]:
    """Write two files of images, and a mask of their size."""
    paths = [tmp_path / name for name in ("one.png", "two.jpeg", "mask.png")]
    for path in paths[:2]:
        images.halves(256, 256).save(path)
    Image.new("RGBA", (256, 256), (0, 0, 0, 0)).save(paths[2])
    return [str(path) for path in paths]


def _size(content: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(content))).size


def test_an_image_comes_with_its_usage_and_the_headers_of_its_reply(client: Client, me: Customer) -> None:
    result = client.generate(me)
    [image] = result["images"]
    assert (_size(image["base64"]), image["type"]) == ((256, 256), "image/png")
    assert result["usage"]["outputTokens"] == 16 * 16
    [headers] = result["responses"]
    assert float(headers["x-zekron-cost"]) == float(me.spent())
    assert headers["x-request-id"]


def test_several_images_take_as_many_requests_as_the_provider_decides(client: Client, me: Customer) -> None:
    result = client.generate(me, n=4)
    # The provider for OpenAI asks an unknown model for one image at a time.
    assert len(result["responses"]) == (4 if client.provider == "openai" else 1)
    assert [_size(image["base64"]) for image in result["images"]] == [(256, 256)] * 4
    seeds = {row.parameters["seed"] for row in Generation.objects.all()}
    assert (len(seeds), Generation.objects.count()) == (4, 4)
    assert float(me.spent()) == sum(float(headers["x-zekron-cost"]) for headers in result["responses"])


def test_one_request_for_several_images_keeps_them_together(client: Client, me: Customer) -> None:
    result = client.generate(me, n=4, maxImagesPerCall=4, headers=KEY)
    assert (len(result["responses"]), len({image["base64"] for image in result["images"]})) == (1, 1)
    again = client.generate(me, n=4, maxImagesPerCall=4, headers=KEY)
    assert again["responses"][0]["idempotent-replayed"] == "true"
    assert float(me.spent()) == float(result["responses"][0]["x-zekron-cost"])


@pytest.mark.parametrize("file_format", ["jpeg", "webp"])
def test_an_image_has_the_format_that_the_providers_options_ask_for(
    client: Client, me: Customer, file_format: str
) -> None:
    options = {
        "openai": {"outputFormat": file_format, "quality": "high"},
        "zekron": {"output_format": file_format, "seed": 7},
    }
    [image] = client.generate(me, providerOptions=options)["images"]
    assert image["type"] == f"image/{file_format}"
    if client.provider == "compatible":
        assert Generation.objects.get().parameters["seed"] == 7


def test_an_edit_has_one_file_or_two_and_a_mask(client: Client, me: Customer, boats: list[str]) -> None:
    for files in (boats[:1], boats[:2]):
        [image] = client.generate(me, files=files)["images"]
        assert _size(image["base64"]) == (256, 256)
        assert Generation.objects.latest("pk").source_sizes == [(256, 256)] * len(files)
    service.show_worker()
    edit = client.start(me, model=HELD_MODEL, files=boats[:1], mask=boats[2])
    row = me.claim()
    assert row.parameters[masks.PARAMETER] is True
    service.finish(row)
    edit.result(calls.TIMEOUT_SECONDS)


def test_a_provider_that_may_choose_reads_the_address_with_its_key(program: Program, me: Customer) -> None:
    options = {"zekron": {"response_format": "url"}}
    # The package reads only addresses of the origin that it calls, which is that of PUBLIC_URL.
    url = me.server.url.replace("127.0.0.1", "localhost")
    client = Client(program, "compatible")
    [image] = client.start(me, url=url, providerOptions=options).result(calls.TIMEOUT_SECONDS)["images"]
    assert _size(image["base64"]) == (256, 256)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"size": "100x100"}, 400, "invalid_size"),
        ({"model": "dall-e-3"}, 400, "model_not_found"),
        ({}, 401, "invalid_api_key"),
        ({}, 402, "insufficient_balance"),
    ],
)
def test_a_refusal_is_an_error_that_is_not_tried_again(
    stack: Stack, client: Client, change: dict[str, Any], status: int, code: str
) -> None:
    me = stack.customer(balance_micros=0 if code == "insufficient_balance" else 10_000_000)
    if status == 401:
        me = Customer(me.account, me.server._replace(key="zk_live_wrong"))
    error = _error_of(client.start(me, **change))
    assert (error["class"], error["status"], error["count"]) == ("AI_APICallError", status, 1)
    assert (error["body"]["error"]["code"], error["is_retryable"]) == (code, False)
    assert error["message"] == error["body"]["error"]["message"]
    assert error["request_id"]


def test_an_image_that_fails_is_free_at_every_try(client: Client, me: Customer) -> None:
    service.show_worker()
    waiting = client.start(me, model=HELD_MODEL, maxRetries=1)
    for _ in range(2):
        service.fail(me.claim())
    error = _error_of(waiting)
    # The package looks at the status alone.
    assert (error["class"], error["status"], error["count"]) == ("AI_RetryError", 500, 2)
    assert Generation.objects.count() == 2
    assert me.spent() == 0


@WITH_AND_WITHOUT_A_KEY
def test_an_image_that_takes_too_long_is_bought_once(
    stack: Stack, client: Client, me: Customer, headers: dict[str, str], found_by: str
) -> None:
    service.show_worker()
    waiting = client.start(me, url=stack.impatient.url, model=HELD_MODEL, headers=headers)
    row = me.claim()
    logged = len(stack.read_log(stack.impatient))
    processes.wait_until(lambda: stack.has_logged(" 504 ", after=logged, web=stack.impatient))
    service.finish(row)
    result = waiting.result(calls.TIMEOUT_SECONDS)
    assert result["responses"][0][found_by] == "true"
    assert (Generation.objects.count(), float(me.spent())) == (1, row.quote_micros / 1_000_000)


@WITH_AND_WITHOUT_A_KEY
def test_a_cut_connection_costs_one_image(
    stack: Stack, client: Client, me: Customer, headers: dict[str, str], found_by: str
) -> None:
    service.show_worker()
    with service.proxy_before(stack) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        waiting = client.start(me, url=url, model=HELD_MODEL, headers=headers)
        row = me.claim()
        proxy.cut()
        proxy.restore()
        service.finish(row)
        result = waiting.result(calls.TIMEOUT_SECONDS)
    assert result["responses"][0][found_by] == "true"
    assert (Generation.objects.count(), float(me.spent())) == (1, row.quote_micros / 1_000_000)


def _error_of(waiting: "Future[dict[str, Any]]") -> dict[str, Any]:
    error = waiting.exception(calls.TIMEOUT_SECONDS)
    assert isinstance(error, calls.Refused), error
    return error.error
