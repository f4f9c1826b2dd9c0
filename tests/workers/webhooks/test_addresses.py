"""Addresses that a webhook may call: those of the public internet alone, however they are written or resolved."""

import ipaddress
import socket
import threading
from typing import Any

import pytest
from pytest_django import Settings

from workers.webhooks import addresses
from workers.webhooks.addresses import RefusedAddress, RefusedUrl, Target, Unresolved

PRIVATE = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),  # noqa: S104
    *("168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1"),
    *("192.31.196.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1"),
    *("203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *(
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
    ),
    *(
        "64:ff9b:1::7f00:1",
        "100::1",
        "2001::1",
        "2001:0:7f00:1::",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::1",
    ),
    *("2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1"),
]
PUBLIC = ["8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255", "1.1.1.1"]
PUBLIC += ["2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "2003::1"]


@pytest.mark.parametrize("text", PRIVATE)
def test_an_address_outside_of_the_public_internet_is_refused(text: str) -> None:
    assert not addresses.is_global(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_public_internet_is_allowed(text: str) -> None:
    assert addresses.is_global(ipaddress.ip_address(text))


def test_no_address_is_allowed_that_the_library_calls_private() -> None:
    # The first and the last address of each network that it knows. Older releases of Python know fewer.
    for version in (ipaddress._IPv4Constants, ipaddress._IPv6Constants):  # type: ignore[attr-defined]
        for network in version._private_networks:
            for address in (network[0], network[-1]):
                assert not addresses.is_global(address), address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "//hooks.example.com/",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "gopher://hooks.example.com/",
        "http://hooks.example.com/",
        "https:hooks.example.com",
        "https:///path",
        "https://",
        "https://user@hooks.example.com/",
        "https://user:password@hooks.example.com/",
        "https://hooks.example.com@127.0.0.1/",
        "https://hooks.example.com:22/",
        "https://hooks.example.com:80/",
        "https://hooks.example.com:6379/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com:-1/",
        "https://hooks.example.com:/",
        "https://hooks.example.com#fragment",
        "https://hooks.example.com/#fragment",
        "https://hooks.example.com\\@127.0.0.1/",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/\r\nX-Header: 1",
        "https://hooks.example.com/\x00",
        "https://hööks.example.com/",
        "https://127。0。0。1/",
        "https://%31%32%37.0.0.1/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://127.0.0.1./",
        "https://127.0.0.0x1/",
        "https://8.8.8/",
        "https://1.2.3.4.5/",
        "https://0/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[v1.1]/",
        "https://[::1/",
        "https://::1/",
        "https://-hooks.example.com/",
        "https://hooks..example.com/",
        f"https://{'a' * 64}.example.com/",
        f"https://{'a.' * 130}com/",
        f"https://hooks.example.com/{'a' * 2048}",
    ],
)
def test_a_url_that_no_webhook_may_have_is_refused_with_a_reason(url: str) -> None:
    with pytest.raises(RefusedUrl) as refused:
        addresses.parse(url)
    # The message never repeats the URL, which may hold a secret of its owner.
    assert not url or url not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example.com", Target("https", "hooks.example.com", 443, "/")),
        ("HTTPS://Hooks.Example.COM/A?b=1&c", Target("https", "hooks.example.com", 443, "/A?b=1&c")),
        ("https://hooks.example.com:8443?b=/@", Target("https", "hooks.example.com", 8443, "/?b=/@")),
        ("https://8.8.8.8/", Target("https", "8.8.8.8", 443, "/")),
        ("https://[2606:4700::1111]:8443/", Target("https", "2606:4700::1111", 8443, "/")),
        ("https://xn--hks-snaa.example/_x", Target("https", "xn--hks-snaa.example", 443, "/_x")),
    ],
)
def test_a_url_is_taken_apart_once_and_for_all(url: str, target: Target) -> None:
    assert addresses.parse(url) == target


def test_the_header_host_has_a_port_that_is_not_the_usual_one_and_brackets() -> None:
    assert addresses.parse("https://hooks.example.com/").authority == "hooks.example.com"
    assert addresses.parse("https://hooks.example.com:8443/").authority == "hooks.example.com:8443"
    assert addresses.parse("https://[2606:4700::1111]/").authority == "[2606:4700::1111]"


TARGET = Target("https", "hooks.example.com", 443, "/")


def ips(*texts: str) -> list[Any]:
    return [ipaddress.ip_address(text) for text in texts]


def test_every_address_of_a_name_must_be_public() -> None:
    addresses.check(TARGET, ips("8.8.8.8", "2606:4700::1111"))
    for found in (("8.8.8.8", "10.0.0.1"), ("10.0.0.1", "8.8.8.8"), ("8.8.8.8", "::1"), ("127.0.0.1",)):
        with pytest.raises(RefusedAddress):
            addresses.check(TARGET, ips(*found))
    with pytest.raises(Unresolved):
        addresses.check(TARGET, [])


def test_this_machine_may_be_called_only_where_a_setting_says_so(settings: Settings) -> None:
    url = "http://127.0.0.1:8080/hook"
    with pytest.raises(RefusedUrl):
        addresses.parse(url)
    settings.WEBHOOK_ALLOW_LOOPBACK = True
    target = addresses.parse(url)
    addresses.check(target, ips("127.0.0.1", "::1"))
    # No other private address is allowed with it, and plain HTTP and other ports remain on this machine.
    for found in (
        ("127.0.0.1", "10.0.0.1"),
        ("::ffff:127.0.0.1",),
        ("0.0.0.0",),  # noqa: S104
        ("8.8.8.8",),
        ("8.8.8.8", "::1"),
    ):
        with pytest.raises(RefusedAddress):
            addresses.check(target, ips(*found))
    with pytest.raises(RefusedUrl):
        addresses.parse("https://10.0.0.1/")


def test_this_machine_may_not_be_called_by_default_even_if_it_is_a_developer_s(settings: Settings) -> None:
    assert settings.LOCAL
    assert settings.WEBHOOK_ALLOW_LOOPBACK is False


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.1", "localhost", "127.1"])
def test_a_name_that_the_resolver_reads_as_this_machine_is_refused_also_after_the_look_up(host: str) -> None:
    target = Target("https", host, 443, "/")
    with pytest.raises(RefusedAddress):
        addresses.check(target, addresses.look_up(host, 443))


def test_a_url_whose_name_leads_to_a_private_address_now_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look_up(host: str, port: int) -> Any:
        if host == "nowhere.example.com":
            raise Unresolved
        return ips("10.0.0.1" if host == "internal.example.com" else "8.8.8.8")

    monkeypatch.setattr(addresses, "look_up", look_up)
    addresses.refuse_now("https://hooks.example.com/")
    addresses.refuse_now("https://nowhere.example.com/")
    with pytest.raises(RefusedUrl, match="private"):
        addresses.refuse_now("https://internal.example.com/")


def test_a_request_waits_for_no_slow_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(addresses, "MAX_LOOKUP_SECONDS", 0.05)
    monkeypatch.setattr(addresses, "look_up", lambda host, port: answered.wait() and [])
    addresses.refuse_now("https://slow.example.com/")
    answered.set()


def test_a_name_without_an_address_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Unresolved):
        addresses.look_up("hooks.example.com", 443)
