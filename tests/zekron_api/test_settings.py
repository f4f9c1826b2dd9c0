"""A production's settings pass Django's own checks, and what they promise is on the wire."""

import ast
import base64
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import close_old_connections, connection
from django.test import Client

from storage.postgresql import time_limits
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
    "EMAIL_FROM": "zekron@example.com",
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

# Variables whose names sound of a secret, and whose values are none: public addresses, a folder or a bucket, and paths.
NO_SECRETS = {"PUBLIC_URL", "TOP_UP_RETURN_URL", "STORAGE_URL", "C2PA_KEY"}


def _spell(ring: Mapping[str, bytes]) -> str:
    return ",".join(f"{key_id}:{base64.b64encode(key).decode()}" for key_id, key in ring.items())


# A value for each variable that holds a secret, and the setting that holds it then.
SECRETS: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "SECRET_KEY": ("f" * 50, lambda settings: settings["SECRET_KEY"]),
    "SECRET_KEY_FALLBACKS": (
        f"{'g' * 50}, {'h' * 50}",
        lambda settings: ", ".join(settings["SECRET_KEY_FALLBACKS"]),
    ),
    "STRIPE_SECRET_KEY": ("sk_live_file", lambda settings: settings["STRIPE_SECRET_KEY"]),
    "STRIPE_WEBHOOK_SECRET": ("whsec_file", lambda settings: settings["STRIPE_WEBHOOK_SECRET"]),
    "EMAIL_URL": (
        "submission://zekron:file@mail.example.com:587",
        lambda settings: (
            "submission://{EMAIL_HOST_USER}:{EMAIL_HOST_PASSWORD}@{EMAIL_HOST}:{EMAIL_PORT}".format(
                **settings
            )
        ),
    ),
    "PROVENANCE_KEYS": (
        "file:" + base64.b64encode(bytes(range(64, 96))).decode(),
        lambda settings: _spell(settings["PROVENANCE_KEYS"]),
    ),
    "METRICS_TOKEN": ("f" * 32, lambda settings: settings["METRICS_TOKEN"]),
    "REDIS_URL": ("redis://:file@redis.example.com:6379/0", lambda settings: settings["CELERY_BROKER_URL"]),
    "MASTER_KEYS": (
        "file:" + base64.b64encode(bytes(range(32, 64))).decode(),
        lambda settings: _spell(settings["MASTER_KEYS"]),
    ),
    "DATABASE_DIRECT_URL": (
        "postgres://zekron:direct@db.example.com/zekron",
        lambda settings: "postgres://{user}:{password}@{host}/{NAME}".format(
            **settings["DATABASES"]["default"], **settings["DATABASES"]["default"]["DIRECT"]
        ),
    ),
    "DATABASE_URL": (
        "postgres://zekron:file@db.example.com/zekron?sslmode=require",
        lambda settings: "postgres://{USER}:{PASSWORD}@{HOST}/{NAME}?sslmode={OPTIONS[sslmode]}".format(
            **settings["DATABASES"]["default"]
        ),
    ),
}


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


@pytest.mark.processes
def test_djangos_checks_for_deployment_are_clean() -> None:
    ended = _run("manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "no issues (2 silenced)" in ended.stdout


@pytest.mark.processes
@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"PUBLIC_URL": "http://api.example.com"}, "security.W008"),
        ({"SECRET_KEY": "x" * 50}, "security.W009"),
    ],
)
def test_the_checks_would_find_a_deployment_that_is_open(variables: Any, found: str) -> None:
    ended = _run("manage.py", "check", "--deploy", "--fail-level", "WARNING", **variables)
    assert ended.returncode == 1
    assert found in ended.stderr


@pytest.mark.processes
def test_https_is_asked_for_everywhere_but_where_load_balancers_look_and_no_header_fakes_it() -> None:
    ended = _run("-c", FACTS)
    assert ended.stdout.split() == [
        "308",
        "https://api.example.com/v1/generate?a=b",
        "200",
        "max-age=31536000",
        "301",
        "True",
        "True",
        "False",
    ], ended.stderr


@pytest.mark.processes
@pytest.mark.parametrize("length", [1, 49])
def test_a_secret_key_that_could_be_guessed_stops_the_start(length: int) -> None:
    ended = _run("-c", "from zekron_api import settings", SECRET_KEY="k" * length)
    assert ended.returncode == os.EX_CONFIG
    assert ended.stderr == (
        f"zekron: the environment variable SECRET_KEY has {length} characters; it must have at least 50.\n"
    )


Read = Callable[..., dict[str, Any]]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    """Return a function that reads the settings of a production with other variables; None takes one away."""

    def run(**variables: str | None) -> dict[str, Any]:
        for name, value in {**PRODUCTION, "DEBUG": "", **variables}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        return runpy.run_path(str(ROOT / "zekron_api" / "settings.py"))

    return run


def test_each_variable_that_holds_a_secret_is_tried_as_a_file() -> None:
    source = (ROOT / "zekron_api" / "settings.py").read_text()
    named = set(re.findall(r'env\.\w+\(\s*"(\w*(?:KEY|KEYS|SECRET|TOKEN|FALLBACKS|URL))"', source))
    assert named - NO_SECRETS == SECRETS.keys()


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_may_be_given_as_a_file(read: Read, name: Any, tmp_path: Path) -> None:
    value, setting = SECRETS[name]
    file = tmp_path / "secret"
    file.write_text(value + "\n")
    settings = read(**{name: None, f"{name}_FILE": str(file)})
    assert setting(settings) == value
    assert settings["LOCAL"] is False


@pytest.mark.parametrize("name", SECRETS)
def test_a_file_without_a_secret_stops_the_start_with_one_line(read: Read, name: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    with pytest.raises(SystemExit) as ended:
        read(**{name: None, f"{name}_FILE": str(empty)})
    assert str(ended.value) == f"zekron: the environment variable {name}_FILE names an empty file."
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    for path in (tmp_path, tmp_path / "nothing", binary):
        with pytest.raises(SystemExit) as ended:
            read(**{name: None, f"{name}_FILE": str(path)})
        reason = "does not name a text file that can be read"
        assert str(ended.value) == f"zekron: the environment variable {name}_FILE {reason}."


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("SECRET_KEY", "HIDDEN", "has 6 characters; it must have at least 50"),
        (
            "SECRET_KEY_FALLBACKS",
            f"{'k' * 50},HIDDEN",
            "has a key of 6 characters; each must have at least 50",
        ),
        ("METRICS_TOKEN", "HIDDEN", "has 6 characters; it must have at least 32"),
        ("MASTER_KEYS", "HIDDEN" * 7, "has a key whose id is not 1 to 16 letters and digits"),
        ("MASTER_KEYS", "HIDDEN" * 7 + ":a", "has a key whose id is not 1 to 16 letters and digits"),
        ("MASTER_KEYS", "a:HIDDEN!", "has a key 'a' that is not base64"),
        ("MASTER_KEYS", "a:HIDDENHI", "has a key 'a' of 6 bytes; it must have 32"),
        ("PROVENANCE_KEYS", "a:HIDDENHI", "has a key 'a' of 6 bytes; it must have 32"),
        ("MASTER_KEYS", ",".join([PRODUCTION["MASTER_KEYS"]] * 2), "names the key 'a' twice"),
        ("DATABASE_URL", "HIDDEN://db/zekron", "is not of the form postgres://user:password@host/name"),
        (
            "DATABASE_URL",
            "postgres://db:HIDDEN/zekron",
            "is not of the form postgres://user:password@host/name",
        ),
        ("SENTRY_DSN", "https://HIDDEN@host:99999/1", "is not of the form https://host:port"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://HIDDEN:0", "is not of the form https://host:port"),
    ],
)
def test_a_wrong_secret_stops_the_start_without_being_quoted(
    read: Read, name: str, value: Any, reason: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        read(**{name: value})
    assert str(ended.value) == f"zekron: the environment variable {name} {reason}."


def test_the_first_of_several_wrong_variables_is_named(read: Read) -> None:
    with pytest.raises(SystemExit) as ended:
        read(DEBUG="maybe", PORT="x", PUBLIC_URL=None)
    assert str(ended.value) == "zekron: the environment variable DEBUG is neither 1 nor 0."


def test_lists_are_read_without_the_spaces_and_gaps_between_their_items(read: Read) -> None:
    settings = read(ALLOW_NONCOMMERCIAL="a, b,,", ALLOWED_HOSTS=" a.example.com , b.example.com,, ")
    assert settings["ALLOW_NONCOMMERCIAL"] == {"a", "b"}
    assert settings["ALLOWED_HOSTS"] == ["a.example.com", "b.example.com"]


def test_prompts_are_kept_unless_a_number_of_days_is_given(read: Read) -> None:
    assert read()["PROMPT_RETENTION"] is None
    assert read(PROMPT_RETENTION="")["PROMPT_RETENTION"] is None
    assert read(PROMPT_RETENTION="30")["PROMPT_RETENTION"] == timedelta(days=30)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "36501", "a month"])
def test_a_retention_that_is_no_number_of_days_stops_the_start(read: Read, value: str) -> None:
    with pytest.raises(SystemExit) as ended:
        read(PROMPT_RETENTION=value)
    assert str(ended.value).endswith("PROMPT_RETENTION is not a whole number from 1 to 36500.")


def test_the_keys_of_digests_may_be_missing(read: Read) -> None:
    ring = "a:" + base64.b64encode(bytes(32)).decode()
    assert read()["PROVENANCE_KEYS"] == {}
    assert read(PROVENANCE_KEYS=ring)["PROVENANCE_KEYS"] == {"a": bytes(32)}


@pytest.mark.parametrize("value", ["xmp", "none"])
def test_the_mark_of_pictures_is_chosen_by_name(read: Read, value: str) -> None:
    assert (read()["PROVENANCE"], read(PROVENANCE=value)["PROVENANCE"]) == ("xmp", value)


@pytest.mark.parametrize("value", ["XMP", "off", "xmp,none"])
def test_an_unknown_mark_stops_the_start(read: Read, value: str) -> None:
    with pytest.raises(SystemExit) as ended:
        read(PROVENANCE=value)
    assert str(ended.value).startswith(
        "zekron: the environment variable PROVENANCE is not one of: none, xmp, c2pa."
    )


def test_pictures_are_signed_by_the_operators_files(read: Read) -> None:
    files = {"C2PA_CERT": "/run/chain.pem", "C2PA_KEY": "/run/key.pem"}
    assert read()["C2PA_CERT"] is None
    settings = read(PROVENANCE="c2pa", **files)
    assert [str(settings[name]) for name in files] == list(files.values())


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "C2PA_CERT is not set, and PROVENANCE=c2pa needs it and C2PA_KEY outside a local machine."),
        ({"C2PA_KEY": "/key.pem"}, "C2PA_CERT is not set, but C2PA_KEY is; set both or neither."),
        ({"C2PA_CERT": "/chain.pem"}, "C2PA_KEY is not set, but C2PA_CERT is; set both or neither."),
        ({"C2PA_TRUST_ANCHORS": "/none"}, "C2PA_TRUST_ANCHORS is not the path of a file that can be read."),
    ],
)
def test_signatures_without_the_operators_files_stop_the_start(
    read: Read, variables: dict[str, str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        read(PROVENANCE="c2pa", **variables)
    assert str(ended.value) == f"zekron: the environment variable {said}"


def test_a_local_machine_signs_with_a_certificate_of_its_own(read: Read) -> None:
    settings = read(PROVENANCE="c2pa", DEBUG="1")
    assert settings["C2PA_CERT"] == settings["C2PA_KEY"] == settings["VAR_DIR"] / "c2pa.pem"
    assert settings["C2PA_CERT"].exists()


@pytest.mark.parametrize(
    "value", ["no_such_module", "examples.no_such_module", "no.such.module", "..", "a b"]
)
def test_a_moderation_module_must_exist(read: Read, value: str) -> None:
    assert read(MODERATION="examples.moderation")["MODERATION"] == "examples.moderation"
    with pytest.raises(SystemExit) as ended:
        read(MODERATION=value)
    assert "the environment variable MODERATION is not the name of a Python module" in str(ended.value)


def test_staff_need_a_second_factor_with_https_unless_the_operator_decides(read: Read) -> None:
    plain = {"PUBLIC_URL": "http://api.example.com"}
    assert [read()["STAFF_MFA"], read(STAFF_MFA="0")["STAFF_MFA"]] == [True, False]
    assert [read(**plain)["STAFF_MFA"], read(**plain, STAFF_MFA="1")["STAFF_MFA"]] == [False, True]


def test_sign_up_is_closed_unless_it_is_opened(read: Read) -> None:
    assert [read()["SIGNUP"], read(SIGNUP="open")["SIGNUP"]] == ["closed", "open"]
    with pytest.raises(SystemExit, match="SIGNUP is not one of: open, closed"):
        read(SIGNUP="yes")


def test_addresses_are_confirmed_and_codes_mailed_only_where_mail_is_sent(read: Read) -> None:
    names = ("ACCOUNT_EMAIL_VERIFICATION", "ACCOUNT_LOGIN_BY_CODE_ENABLED", "ACCOUNT_EMAIL_NOTIFICATIONS")
    without, sending = read(), read(EMAIL_URL="submission://u:p@mail.example.com:587")
    assert [without[name] for name in names] == ["none", False, False]
    assert [sending[name] for name in names] == ["mandatory", True, True]


def test_limits_of_sign_ins_count_in_a_table_that_all_processes_share(read: Read) -> None:
    cache = read()["CACHES"]["default"]
    assert cache["BACKEND"] == "django.core.cache.backends.db.DatabaseCache"
    # A smaller cache would drop lockouts that still count.
    assert cache["OPTIONS"]["MAX_ENTRIES"] >= 20_000


def test_a_list_of_nothing_stops_the_start(read: Read) -> None:
    with pytest.raises(SystemExit) as ended:
        read(ALLOWED_HOSTS=" , ")
    assert (
        str(ended.value) == "zekron: the environment variable ALLOWED_HOSTS names nothing between its commas."
    )


@pytest.mark.processes
def test_a_bucket_is_a_store_that_passes_the_checks() -> None:
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
def test_a_store_that_cannot_be_meant_stops_the_start_without_quoting_the_url(url: str, said: str) -> None:
    with pytest.raises(SystemExit) as ended:
        object_store(url)
    line = str(ended.value)
    assert line.startswith(f"zekron: the environment variable STORAGE_URL {said}")
    assert "SECRET" not in line.replace("AWS_SECRET_ACCESS_KEY", "")
    assert "\n" not in line


@pytest.mark.processes
@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", time_limits.CONNECTION),
        (
            "?sslmode=verify-full&connect_timeout=9&options=-c%20statement_timeout%3D0",
            {
                **time_limits.CONNECTION,
                "connect_timeout": 9,
                "sslmode": "verify-full",
                "options": "-c statement_timeout=0",
            },
        ),
    ],
)
def test_what_the_databases_url_asks_for_is_asked_of_the_database(
    query: str, options: dict[str, Any]
) -> None:
    show = "from django.conf import settings; print(settings.DATABASES['default']['OPTIONS'])"
    shown = _run("-c", show, DATABASE_URL=PRODUCTION["DATABASE_URL"] + query)
    assert {name: str(value) for name, value in ast.literal_eval(shown.stdout).items()} == {
        name: str(value) for name, value in options.items()
    }


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_the_server_has_ended_is_replaced_before_the_next_request() -> None:
    def server_process_id() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    ended = server_process_id()
    with closing(connection.copy()) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, timeout => 10000)", [ended])
        assert cursor.fetchone() == (True,)
    close_old_connections()
    assert server_process_id() != ended


def test_on_a_local_machine_plain_http_is_served() -> None:
    response = Client().get("/healthz")
    assert response.status_code == 200
    assert "Strict-Transport-Security" not in response


@pytest.mark.parametrize(
    "value",
    [
        "app.example.com",
        "https://a.example.com/path",
        "https://a.example.com?x",
        "https://*.example.com",
        "https://a@b.example.com",
        "ftp://example.com",
        "https://",
        "https://example.com:99999",
        "*",
        "null",
    ],
)
def test_what_is_no_origin_stops_the_start_with_one_line(read: Read, value: str) -> None:
    with pytest.raises(SystemExit) as ended:
        read(CORS_ALLOWED_ORIGINS=f"https://app.example.com,{value}")
    assert str(ended.value) == (
        f"zekron: the environment variable CORS_ALLOWED_ORIGINS names {value!r}, "
        "which is not an origin such as https://app.example.com."
    )


def test_origins_may_be_written_as_addresses_and_there_are_none_by_default(read: Read) -> None:
    assert read()["CORS_ALLOWED_ORIGINS"] == []
    settings = read(CORS_ALLOWED_ORIGINS=" https://App.example.com/ ,, http://localhost:3000,http://[::1]:80")
    assert settings["CORS_ALLOWED_ORIGINS"] == [
        "https://app.example.com",
        "http://localhost:3000",
        "http://[::1]:80",
    ]
