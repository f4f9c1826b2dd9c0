"""Libraries and a proxy that call the service for others, unchanged. `make clients` installs them."""

import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest
from PIL import Image

from bench.baselines import litellm_proxy
from tests import images
from tests.clients import calls, environments
from tests.clients import stack as service
from tests.clients.calls import Program
from tests.clients.stack import HELD_MODEL, MODEL, Customer, Stack
from workers.models import Generation

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes, pytest.mark.clients]
KEYLESS = {"size": "256x256"}


@pytest.fixture
def me(stack: Stack) -> Customer:
    """Open an account."""
    return stack.customer()


@pytest.fixture
def boats(tmp_path: Path) -> list[Path]:
    """Write two files of images."""
    paths = [tmp_path / "one.png", tmp_path / "two.jpeg"]
    for path in paths:
        images.halves(256, 256).save(path)
    return paths


@pytest.fixture(scope="module")
def langchain() -> Iterator[Program]:
    """Start the program of langchain-community."""
    with calls.in_python("langchain_calls", python=environments.find("langchain")) as program:
        yield program


@pytest.fixture(scope="module")
def litellm() -> Iterator[Program]:
    """Start the program of litellm."""
    with calls.in_python("litellm_calls", python=environments.find("litellm")) as program:
        yield program


def _client(customer: Customer, *, url: str = "") -> dict[str, Any]:
    return {"base_url": f"{url or customer.server.url}/v1", "key": customer.key}


def _open(content: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize("named", [{}, {"model": MODEL}])
def test_langchain_gets_addresses_that_can_be_read(
    langchain: Program, me: Customer, named: dict[str, str]
) -> None:
    options = {"size": "256x256", "n": 2, **named}
    text = langchain.call("generate", client=_client(me), prompt="a boat", options=options)["text"]
    contents = [me.server.ask(f"/v1/images/{url.rpartition('/')[2]}").content for url in text.split("\n")]
    assert [Image.open(io.BytesIO(content)).size for content in contents] == [(256, 256)] * 2
    assert float(me.spent()) == sum(row.cost_micros for row in Generation.objects.all()) / 1_000_000


def test_langchain_raises_the_errors_of_openai(langchain: Program, stack: Stack) -> None:
    empty = stack.customer(balance_micros=0)
    options = {"model": MODEL, "size": "256x256"}
    error = langchain.error_of("generate", client=_client(empty), prompt="a boat", options=options)
    assert (error["class"], error["code"]) == ("APIStatusError", "insufficient_balance")


def test_langchain_pays_once_for_a_cut_connection(langchain: Program, stack: Stack, me: Customer) -> None:
    service.show_worker()
    with service.proxy_before(stack) as proxy:
        client = _client(me, url=f"http://127.0.0.1:{proxy.port}")
        options = {"model": HELD_MODEL, "size": "256x256"}
        waiting = langchain.start("generate", client=client, prompt="a boat", options=options)
        row = me.claim()
        service.cut(proxy, row)
        service.finish(row)
        assert waiting.result(calls.TIMEOUT_SECONDS)["text"]
    assert (Generation.objects.count(), float(me.spent())) == (1, row.quote_micros / 1_000_000)


@pytest.mark.parametrize("file_format", ["png", "webp"])
def test_litellm_gets_images_and_their_usage(litellm: Program, me: Customer, file_format: str) -> None:
    options = {"size": "256x256", "n": 2, "output_format": file_format}
    result = litellm.call("generate", client=_client(me), model=MODEL, options=options)
    body = result["body"]
    assert [_open(image["b64_json"]).format for image in body["data"]] == [file_format.upper()] * 2
    assert (result["type"], body["usage"]["output_tokens"]) == ("ImageResponse", 2 * 16 * 16)
    assert float(me.spent()) == sum(row.cost_micros for row in Generation.objects.all()) / 1_000_000


def test_litellm_edits_one_file_and_two(litellm: Program, me: Customer, boats: list[Path]) -> None:
    for files in (boats[:1], boats):
        body = litellm.call(
            "edit", client=_client(me), model=MODEL, files=[str(path) for path in files], options=KEYLESS
        )["body"]
        assert _open(body["data"][0]["b64_json"]).size == (256, 256)
        assert Generation.objects.latest("pk").source_sizes == [(256, 256)] * len(files)


@pytest.mark.parametrize(
    ("model", "options", "micros", "name", "status"),
    [
        (MODEL, {"size": "100x100"}, 10_000_000, "BadRequestError", 400),
        ("dall-e-3", {}, 10_000_000, "BadRequestError", 400),
        (MODEL, {"api_key": "zk_live_wrong"}, 10_000_000, "AuthenticationError", 401),
        (MODEL, {}, 0, "APIError", 402),
    ],
)
def test_litellm_has_an_exception_for_each_error(
    litellm: Program, stack: Stack, model: str, options: dict[str, Any], micros: int, name: str, status: int
) -> None:
    customer = stack.customer(balance_micros=micros)
    error = litellm.error_of(
        "generate", client=_client(customer), model=model, options={**KEYLESS, **options}
    )
    assert (error["class"], error["status"]) == (name, status)


def test_litellm_pays_once_for_a_cut_connection(litellm: Program, stack: Stack, me: Customer) -> None:
    service.show_worker()
    with service.proxy_before(stack) as proxy:
        client = _client(me, url=f"http://127.0.0.1:{proxy.port}")
        waiting = litellm.start(
            "generate", client=client, model=HELD_MODEL, options={**KEYLESS, "max_retries": 2}
        )
        row = me.claim()
        service.cut(proxy, row)
        service.finish(row)
        assert waiting.result(calls.TIMEOUT_SECONDS)["body"]["data"]
    assert (Generation.objects.count(), float(me.spent())) == (1, row.quote_micros / 1_000_000)


class Gateway(NamedTuple):
    """LiteLLM's proxy before the service, and the account that it has at the service."""

    client: openai.OpenAI
    customer: Customer


@contextmanager
def _gateway(stack: Stack, folder: Path, **account: Any) -> Iterator[Gateway]:
    """Run a proxy whose models are those of the service, and `impatient` that of the impatient web process."""
    environments.require(litellm_proxy.ENVIRONMENT)
    customer = stack.customer(**account)
    names = {MODEL: stack.url, HELD_MODEL: stack.url, "impatient": stack.impatient.url}
    models = "".join(
        f"  - model_name: {name}\n    litellm_params: {{model: openai/{HELD_MODEL if name == 'impatient' else name}, "
        f'api_base: "{url}/v1", api_key: {customer.key}}}\n'
        for name, url in names.items()
    )
    # By default the proxy repeats any failed request, whatever the header x-should-retry says.
    settings = "router_settings: {num_retries: 0}\n"
    with litellm_proxy.serve(models + settings, folder=folder) as proxy:
        base_url = f"http://127.0.0.1:{proxy.port}/v1"
        with openai.OpenAI(base_url=base_url, api_key=proxy.key, max_retries=0) as client:
            yield Gateway(client, customer)


def test_a_proxy_passes_images_edits_and_errors_on(stack: Stack, tmp_path: Path, boats: list[Path]) -> None:
    with _gateway(stack, tmp_path) as gateway:
        asked: dict[str, Any] = {"model": MODEL, "prompt": "a boat", "size": "256x256"}
        made = gateway.client.images.generate(**asked, n=2, output_format="webp")
        assert [_open(image.b64_json).format for image in made.data] == ["WEBP"] * 2
        assert made.usage.output_tokens == 2 * 16 * 16
        for files in (boats[:1], boats):
            edited = gateway.client.images.edit(**asked, image=[path.read_bytes() for path in files])
            assert _open(edited.data[0].b64_json).size == (256, 256)
            assert Generation.objects.latest("pk").source_sizes == [(256, 256)] * len(files)
        with pytest.raises(openai.BadRequestError) as caught:
            gateway.client.images.generate(**{**asked, "size": "100x100"})
        assert "size must be" in str(caught.value)
        paid = sum(row.cost_micros for row in Generation.objects.all())
        assert float(gateway.customer.spent()) == paid / 1_000_000
        _expect_one_charge_for_what_takes_too_long(gateway)


def _expect_one_charge_for_what_takes_too_long(gateway: Gateway) -> None:
    """Let a generation take longer than a client may wait."""
    service.show_worker()
    count, spent = Generation.objects.count(), gateway.customer.spent()
    asked: dict[str, Any] = {"model": "impatient", "prompt": "a boat", "size": "256x256"}
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: gateway.client.images.generate(**asked))
        row = gateway.customer.claim()
        error = waiting.exception(calls.TIMEOUT_SECONDS)
        service.finish(row)
    assert isinstance(error, openai.APIStatusError), error
    assert Generation.objects.count() == count + 1
    assert float(gateway.customer.spent() - spent) == row.quote_micros / 1_000_000
