"""Options of a remote model: strict, and its key comes from the environment alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workers.catalogue import ImageModel
from workers.engine.interface import Misconfigured
from workers.remote.configuration import read_remote

Describe = Callable[..., ImageModel]


def test_without_more_than_an_address_the_rest_has_defaults(describe: Describe) -> None:
    remote = read_remote(describe(base_url="https://far.example.com:8443/v1/"))
    assert (remote.base_url, remote.host) == ("https://far.example.com:8443/v1", "far.example.com:8443")
    assert (remote.key, remote.timeout_seconds, remote.max_requests) == ("", 120, 4)
    assert remote.fields == {"model": "owner/far", "response_format": "b64_json", "output_format": "png"}


def test_fields_are_added_replaced_and_left_out(describe: Describe) -> None:
    options: Any = {
        "model": "far",
        "fields": {"num_inference_steps": 9, "output_format": "webp"},
        "omit": ["response_format"],
    }
    remote = read_remote(describe(**options))
    assert remote.fields == {"model": "far", "num_inference_steps": 9, "output_format": "webp"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_url", ""),
        ("base_url", "far.example.com/v1"),
        ("base_url", "ftp://far.example.com/v1"),
        ("base_url", "http:///v1"),
        ("base_url", "http://far:port/v1"),
        ("base_url", "http://user:secret@far.example.com/v1"),
        ("base_url", "http://far.example.com/v1?key=secret"),
        ("base_url", "http://far\t.example.com/v1"),
        ("base_url", "http://\uff11\uff12.example.com/v1"),
        ("base_url", 7),
        ("api_key", "sk-secret"),
        ("timeout_seconds", 0),
        ("timeout_seconds", 3601),
        ("timeout_seconds", True),
        ("fields", {"a": [1]}),
        ("fields", {"a": float("nan")}),
        ("fields", {"n": 2}),
        ("fields", []),
        ("omit", ["prompt"]),
        ("omit", "seed"),
        ("unknown", 1),
        ("key", "secret"),
        ("fields", {"key": ["secret"]}),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(describe: Describe, name: str, value: object) -> None:
    with pytest.raises(Misconfigured) as refusal:
        read_remote(describe(**{name: value}))
    assert name in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_the_key_is_that_of_the_variable_or_of_its_file(
    describe: Describe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = describe(api_key="FAR_KEY")
    with pytest.raises(Misconfigured, match="FAR_KEY, the key of the model"):
        read_remote(model)
    monkeypatch.setenv("FAR_KEY", "secret one")
    assert read_remote(model).key == "secret one"
    monkeypatch.delenv("FAR_KEY")
    (tmp_path / "key").write_text("secret two\n")
    monkeypatch.setenv("FAR_KEY_FILE", str(tmp_path / "key"))
    assert read_remote(model).key == "secret two"
    monkeypatch.setenv("FAR_KEY_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(Misconfigured, match="FAR_KEY_FILE does not name"):
        read_remote(model)


def test_a_server_does_not_show_its_key(describe: Describe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAR_KEY", "secret one")
    assert "secret" not in repr(read_remote(describe(api_key="FAR_KEY")))
