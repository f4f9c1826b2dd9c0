"""A production's settings pass Django's own checks, and what they promise is on the wire."""

import ast
import base64
import os
import subprocess
import sys

import pytest
from django.test import Client

from tests.processes import ROOT
from zekron_api.config.storage_url import object_store

PRODUCTION = {
    "DEBUG": "0",
    "SECRET_KEY": "9kT!w2Zq-x7Lr_u4Vb8Nc1Md6Pe3Qf5Rg0Sh&Ti*Uj(Vk)Wl^Xm",
    "MASTER_KEYS": "a:" + base64.b64encode(bytes(range(32))).decode(),
    "ALLOWED_HOSTS": "api.example.com",
    "PUBLIC_URL": "https://api.example.com",
    "DATABASE_URL": "postgres://zekron:secret@db.example.com/zekron",
    "REDIS_URL": "redis://redis.example.com:6379/0",
    "STORAGE_URL": "file:///srv/zekron",
}
FACTS = """
import django
django.setup()
from django.conf import settings
from django.test import Client
client = Client(headers={"Host": "api.example.com"})
plain, inside = client.post("/v1/generate?a=b"), client.get("/healthz", headers={"Host": "api.example.com"})
secure = client.get("/healthz", secure=True)
spoofed = client.get("/v1/balance", headers={"X-Forwarded-Proto": "https"})
print(plain.status_code, plain["Location"], inside.status_code)
print(secure["Strict-Transport-Security"], spoofed.status_code)
print(settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE, settings.DEBUG)
"""


def _run(*command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **PRODUCTION, "DJANGO_SETTINGS_MODULE": "zekron_api.settings", **variables}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_djangos_checks_for_deployment_are_clean():
    ended = _run("manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "no issues (2 silenced)" in ended.stdout


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"PUBLIC_URL": "http://api.example.com"}, "security.W008"),
        ({"SECRET_KEY": "x" * 50}, "security.W009"),
    ],
)
def test_the_checks_would_find_a_deployment_that_is_open(variables, found):
    ended = _run("manage.py", "check", "--deploy", "--fail-level", "WARNING", **variables)
    assert ended.returncode == 1
    assert found in ended.stderr


def test_https_is_asked_for_everywhere_but_where_load_balancers_look_and_no_header_fakes_it():
    ended = _run("-c", FACTS)
    assert ended.stdout.split() == [
        "301",
        "https://api.example.com/v1/generate?a=b",
        "200",
        "max-age=31536000",
        "301",
        "True",
        "True",
        "False",
    ], ended.stderr


@pytest.mark.parametrize("length", [1, 49])
def test_a_secret_key_that_could_be_guessed_stops_the_start(length):
    ended = _run("-c", "from zekron_api import settings", SECRET_KEY="k" * length)
    assert ended.returncode == 1
    assert ended.stderr == (
        f"zekron: the environment variable SECRET_KEY has {length} characters; it must have at least 50.\n"
    )


def test_a_bucket_is_a_store_that_passes_the_checks():
    url = "s3://zekron-images/eu/live?endpoint_url=https://s3.example.com:9000&region=eu-central-1"
    ended = _run("manage.py", "check", "--deploy", "--fail-level", "WARNING", STORAGE_URL=url)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert object_store(url) == {
        "BACKEND": "storage.s3_store.S3Store",
        "OPTIONS": {
            "bucket_name": "zekron-images",
            "location": "eu/live",
            "endpoint_url": "https://s3.example.com:9000",
            "region_name": "eu-central-1",
        },
    }
    assert object_store("s3://zekron-images/")["OPTIONS"] == {"bucket_name": "zekron-images", "location": ""}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://KEY:SECRET@bucket/prefix", "holds credentials; give them as AWS_ACCESS_KEY_ID and AWS_"),
        ("s3://KEY@bucket", "holds credentials"),
        ("s3://bucket?endpoint_url=https://KEY:SECRET@host", "has an endpoint_url that is not of the form"),
        ("s3://bucket?endpoint_url=s3.example.com", "has an endpoint_url that is not of the form"),
        ("s3://bucket?endpoint_url=https://host:99999", "is neither of the form file:///"),
        ("s3://bucket?endpoint_url=https://host?a=b", "has an endpoint_url that is not of the form"),
        ("s3://bucket?endpoint_url=", "has an endpoint_url that is not of the form"),
        ("s3://bucket?secret=SECRET", "has other options than one endpoint_url and one region"),
        ("s3://bucket?region=eu&region=us", "has other options than"),
        ("s3://bucket?region=EU%20west", "has a region that is not made of"),
        ("s3://bucket?region", "is neither of the form file:///"),
        ("s3://bucket#prefix", "is neither of the form file:///"),
        ("s3:///prefix", "is neither of the form file:///"),
        ("s3://Bucket_Name", "is neither of the form file:///"),
        ("s3://bucket:9000/prefix", "is neither of the form file:///"),
        ("s3://bucket/../other", "is neither of the form file:///"),
        ("s3://bucket/a//b", "is neither of the form file:///"),
        ("s3://[bucket/prefix", "is neither of the form file:///"),
        ("file://host/folder", "is neither of the form file:///"),
        ("/srv/zekron", "is neither of the form file:///"),
    ],
)
def test_a_store_that_cannot_be_meant_stops_the_start_without_quoting_the_url(url, said):
    with pytest.raises(SystemExit) as ended:
        object_store(url)
    line = str(ended.value)
    assert line.startswith(f"zekron: the environment variable STORAGE_URL {said}")
    assert "SECRET" not in line.replace("AWS_SECRET_ACCESS_KEY", "")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {"connect_timeout": 5}),
        ("?sslmode=verify-full&connect_timeout=9", {"connect_timeout": 9, "sslmode": "verify-full"}),
    ],
)
def test_what_the_databases_url_asks_for_is_asked_of_the_database(query, options):
    show = "from django.conf import settings; print(settings.DATABASES['default']['OPTIONS'])"
    shown = _run("-c", show, DATABASE_URL=PRODUCTION["DATABASE_URL"] + query)
    assert {name: str(value) for name, value in ast.literal_eval(shown.stdout).items()} == {
        name: str(value) for name, value in options.items()
    }


def test_on_a_local_machine_plain_http_is_served():
    response = Client().get("/healthz")
    assert response.status_code == 200
    assert "Strict-Transport-Security" not in response
