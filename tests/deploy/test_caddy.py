"""Caddy before a web process, with the Caddyfile of the deployment: HTTPS, streams, and the address of the client."""

import json
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from billing import keys
from billing.grants import Grants
from tests import factories, processes
from tests.debian_packages import find_program
from tests.deploy.artefacts import DEPLOY
from tests.processes import Answer
from zekron_api.local.run import free_port

pytestmark = [pytest.mark.deploy, pytest.mark.django_db(transaction=True)]

TOKEN: Final = "a token of thirty-two characters"
# Ports that need no rights, and a store that other runs do not share.
OPTIONS: Final = """{{
	http_port {http}
	https_port {https}
	admin off
	skip_install_trust
	storage file_system {folder}
}}
"""


class Proxied(NamedTuple):
    """A service behind Caddy, and a key."""

    url: str
    key: str

    def ask(self, path: str, body: object = None, *, key: str = "", **headers: str) -> Answer:
        sent = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, sent)  # noqa: S310 (our own server)
        # Caddy signs the certificate of localhost itself.
        context = ssl._create_unverified_context()  # noqa: S323
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as reply:  # noqa: S310
                return Answer(reply.status, dict(reply.headers), reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())


@pytest.fixture
def service(tmp_path: Path, objects_folder: Path) -> Iterator[Proxied]:
    """Run a web process, a worker in this one, and Caddy before them."""
    caddy = find_program("caddy", package="caddy")
    https = free_port()
    url = f"https://localhost:{https}"
    with (
        processes.worker(),
        processes.running(
            folder=tmp_path,
            objects_folder=objects_folder,
            PUBLIC_URL=url,
            ALLOWED_HOSTS="localhost",
            FORWARDED_ALLOW_IPS="127.0.0.1",
            METRICS_TOKEN=TOKEN,
        ) as stack,
    ):
        # The process itself answers health checks over plain HTTP.
        inside = processes.ready(stack.url)
        caddyfile = tmp_path / "Caddyfile"
        options = OPTIONS.format(http=free_port(), https=https, folder=tmp_path / "caddy")
        caddyfile.write_text(options + (DEPLOY / "caddy" / "Caddyfile").read_text())
        upstream = {"DOMAIN": "localhost", "UPSTREAM_HOST": "127.0.0.1", "UPSTREAM_PORT": str(stack.port)}
        log = tmp_path / "caddy.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [caddy.path, "run", "--adapter", "caddyfile", "--config", caddyfile],
                env={**caddy.environment, **upstream, "HOME": str(tmp_path)},
                stdout=output,
                stderr=output,
            )
        try:
            proxied = Proxied(url, inside.key)
            processes.wait_until(lambda: _answers(proxied))
            yield proxied
        finally:
            process.terminate()
            process.wait(timeout=30)
            sys.stderr.write(log.read_text())


def _answers(service: Proxied) -> bool:
    try:
        return service.ask("/healthz").status == 200
    except OSError:
        return False


def test_an_image_and_its_events_come_through(service: Proxied) -> None:
    order = {"prompt": "a boat", "size": "512x512"}
    created = service.ask("/v1/generate", order)
    assert (created.status, created.headers["Server"]) == (200, "Caddy")
    assert created.json["data"]["image"]["url"].startswith(service.url)
    events = service.ask("/v1/generate", order, Accept="text/event-stream")
    assert (events.status, events.headers["Content-Type"].split(";")[0]) == (200, "text/event-stream")
    assert b"event: " in events.content


def test_the_service_believes_the_proxy_and_the_proxy_no_client(service: Proxied) -> None:
    account_id = factories.account().pk
    _, of_this_host = keys.issue(account_id=account_id, grants=Grants(allowed_ips=("127.0.0.1/32",)))
    _, of_elsewhere = keys.issue(account_id=account_id, grants=Grants(allowed_ips=("203.0.113.0/24",)))
    assert service.ask("/v1/balance", key=of_this_host).status == 200
    faked = service.ask("/v1/balance", key=of_elsewhere, X_Forwarded_For="203.0.113.5")
    assert (faked.status, faked.json["error"]["type"]) == (403, "ip_not_allowed")


def test_metrics_are_not_for_the_internet(service: Proxied) -> None:
    assert service.ask("/metrics", key=TOKEN).status == 404


def test_the_errors_are_those_of_the_service(service: Proxied) -> None:
    refused = service.ask("/v1/generate", {"prompt": " "})
    assert (refused.status, refused.json["error"]["type"]) == (400, "missing_prompt")
