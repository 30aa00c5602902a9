"""The egress policy by itself, and as the gateway applies it when it connects."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import requests

from serving_ui.lib.egress import EgressPolicy, EgressRefused
from tests.gateway.conftest import CHAT, GatewayServer, endpoint, entity
from tests.support.raw_server import raw_server
from tests.support.sandbox import SandboxServer
from tests.support.waiting import DEADLINE, wait_until

METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "240.0.0.1",
    "255.255.255.255",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1:a9fe:a9:fe00::",  # the same behind a prefix of 48 bits, of 56, and of 64
    "64:ff9b:1:ffa9:00fe:a9fe::",
    "64:ff9b:1:ffff:a9:fea9:fe00::",
    "2001:0:808:808:0:0:5601:5601",  # a client of Teredo at 169.254.169.254
    "2606:4700::5efe:a9fe:a9fe",  # ISATAP
    "2606:4700::200:5efe:a9fe:a9fe",
]
PRIVATE = [
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "fc00::1",
    "::ffff:10.1.2.3",
    "64:ff9b::a01:203",
    "192.0.0.1",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "::8.8.8.8",
    "::ffff:0:8.8.8.8",
    "64:ff9b:1::808:808",
    "100::1",
    "100:0:0:1::1",
    "200::1",
    "2001:1::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fec0::1",
    "fec0::a9fe:a9fe",
    "2606:4700::5efe:a01:203",
]
CARRIED_LOOPBACK = [
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "64:ff9b:1:7f00:0:100::",
    "2002:7f00:1::1",
    "2001:0:808:808:0:0:80ff:fffe",
    "2606:4700::5efe:7f00:1",
]
LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]
PUBLIC = [
    "8.8.8.8",
    "192.0.1.1",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "198.17.255.255",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2001:200::1",
    "2a00:1450:4001::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]
EVERYTHING = EgressPolicy(
    listed=("0.0.0.0/0", "::/0", "metadata.google.internal", "example.com"), loopback=True
)


def allowed(policy: EgressPolicy, address: str, *, host: str = "example.com", port: int = 443) -> bool:
    try:
        policy.check_address(host=host, port=port, address=address)
    except EgressRefused as refusal:
        assert str(refusal).endswith(".")
        return False
    return True


@pytest.mark.parametrize("address", METADATA)
def test_metadata_and_special_addresses_are_never_allowed(address: str):
    assert not allowed(EVERYTHING, address)


@pytest.mark.parametrize("host", ["metadata.google.internal", "METADATA.google.internal.", "metadata"])
def test_metadata_names_are_never_allowed(host: str):
    assert not allowed(EVERYTHING, "8.8.8.8", host=host)
    with pytest.raises(EgressRefused):
        EVERYTHING.check_url(f"http://{host}/v1")


@pytest.mark.parametrize("address", [*PRIVATE, *LOOPBACK, *CARRIED_LOOPBACK])
def test_private_and_loopback_addresses_are_allowed_only_when_listed(address: str):
    assert not allowed(EgressPolicy(), address)
    assert allowed(EgressPolicy(listed=("example.com",)), address)
    assert allowed(EgressPolicy(listed=("example.com:443",)), address)
    assert not allowed(EgressPolicy(listed=("example.com:80",)), address)
    assert not allowed(EgressPolicy(listed=("example.org",)), address)


def test_networks_and_addresses_can_be_listed():
    assert allowed(EgressPolicy(listed=("10.0.0.0/8",)), "10.1.2.3")
    assert allowed(EgressPolicy(listed=("10.1.2.3",)), "10.1.2.3")
    assert allowed(EgressPolicy(listed=("10.1.2.3:443",)), "10.1.2.3")
    assert not allowed(EgressPolicy(listed=("10.1.2.3:80",)), "10.1.2.3")
    assert not allowed(EgressPolicy(listed=("10.0.0.0/8",)), "192.168.1.1")
    assert allowed(EgressPolicy(listed=("fc00::/7",)), "fc00::1")
    assert allowed(EgressPolicy(listed=("[::1]:9000",)), "::1", host="::1", port=9000)


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_is_allowed_where_it_counts_as_listed(address: str):
    assert allowed(EgressPolicy(loopback=True), address)


@pytest.mark.parametrize("address", CARRIED_LOOPBACK)
def test_an_address_that_embeds_a_loopback_address_is_not_allowed_as_loopback(address: str):
    assert not allowed(EgressPolicy(loopback=True), address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str):
    assert allowed(EgressPolicy(), address)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com",
        "file:///etc/passwd",
        "//example.com",
        "example.com",
        "http://",
        "https://user:password@example.com",
        "https://example.com@127.0.0.1",
        "https://example.com:99999",
        "https://exa mple.com",
        "https://example.com\\@evil.test",
        "https://example.com/\r\nx",
        "http://127.0.0.1",
        "http://127.1",
        "http://2130706433",
        "http://0x7f000001",
        "http://0177.0.0.1",
        "http://[::1]",
        "http://[::ffff:7f00:1]",
        "http://localhost:8000",
        "http://x.localhost",
        "http://10.0.0.1",
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1%25eth0]",
        "",
    ],
)
def test_an_invalid_or_forbidden_url_is_refused_when_it_is_saved(url: str):
    with pytest.raises(EgressRefused, match=r"\.$"):
        EgressPolicy().check_url(url)


@pytest.mark.parametrize(
    "url", ["https://api.openai.com/v1", "http://example.com:8080", "https://8.8.8.8", "HTTPS://Example.com"]
)
def test_other_urls_may_be_saved(url: str):
    EgressPolicy().check_url(url)


def test_loopback_urls_may_be_saved_where_loopback_is_listed():
    EgressPolicy(loopback=True).check_url("http://localhost:8000/v1")
    EgressPolicy(listed=("127.0.0.1:8000",)).check_url("http://127.0.0.1:8000/v1")
    with pytest.raises(EgressRefused):
        EgressPolicy(listed=("127.0.0.1:8000",)).check_url("http://127.0.0.1:8001/v1")


def test_a_name_with_allowed_and_forbidden_addresses_resolves_to_the_allowed_ones(
    monkeypatch: pytest.MonkeyPatch,
):
    resolve_as(
        monkeypatch, {"mixed.test": ["169.254.169.254", "8.8.8.8", "10.0.0.1"], "bad.test": ["10.0.0.1"]}
    )
    assert EgressPolicy().resolve(host="mixed.test", port=443) == ["8.8.8.8"]
    with pytest.raises(EgressRefused):
        EgressPolicy().resolve(host="bad.test", port=443)


def resolve_as(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> list[str]:
    """Resolve these names to these addresses, instead of by a name server. Returns the list of all names resolved from now on."""
    real, resolved = socket.getaddrinfo, list[str]()

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        resolved.append(host)
        if host not in names:
            return real(host, port, *args, **kwargs)
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in each], socket.SOCK_STREAM, 6, "", (each, port)) for each in names[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return resolved


def test_the_gateway_refuses_loopback_where_it_is_not_listed(gateway: GatewayServer, sandbox: SandboxServer):
    gateway.publish(egress=EgressPolicy())
    answer = gateway.query()
    assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")
    assert "this machine, which is not allowed" in answer.json()["message"]
    assert sandbox.requests() == []


def test_a_name_that_resolves_to_a_metadata_address_is_refused_when_the_gateway_connects(
    gateway: GatewayServer, monkeypatch: pytest.MonkeyPatch
):
    resolve_as(monkeypatch, {"innocent.test": ["169.254.169.254"]})
    gateway.publish(endpoint("chat", entity(base="http://innocent.test/v1")), egress=EVERYTHING)
    answer = gateway.query()
    assert answer.status_code == 400
    assert "is never allowed" in answer.json()["message"]


def test_the_gateway_connects_to_the_address_that_it_checked(
    gateway: GatewayServer, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
):
    names = {"rebinding.test": ["127.0.0.1"]}
    resolved = resolve_as(monkeypatch, names)
    base = sandbox.base.replace("127.0.0.1", "rebinding.test")
    gateway.publish(endpoint("chat", entity(base=base)))
    assert gateway.query().status_code == 200
    assert resolved.count("rebinding.test") == 1
    (got,) = sandbox.requests()
    assert got["headers"]["host"].startswith("rebinding.test:")


def test_hosts_whose_name_servers_do_not_answer_delay_no_other_host(
    gateway: GatewayServer, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
):
    resolve_as(monkeypatch, {"quick.test": ["127.0.0.1"]})
    known, let_go, waiting = socket.getaddrinfo, threading.Event(), list[str]()

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        if str(host).startswith("silent"):
            waiting.append(host)
            let_go.wait(DEADLINE)
        return known("127.0.0.1" if str(host).startswith("silent") else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    silent = [f"silent-{number}" for number in range(40)]
    for name in silent:
        gateway.add(endpoint(name, entity(base=f"http://{name}.test:9/v1")))
    gateway.add(endpoint("quick", entity(base=sandbox.base.replace("127.0.0.1", "quick.test"))))
    with ThreadPoolExecutor(len(silent)) as callers:
        pending = [callers.submit(gateway.query, name) for name in silent]
        wait_until(lambda: len(waiting) == len(silent))
        assert gateway.query("quick").status_code == 200
        let_go.set()
        assert {each.result().status_code for each in pending} <= {503, 504}


def test_the_next_address_is_tried_when_the_first_does_not_answer(
    gateway: GatewayServer, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
):
    resolve_as(monkeypatch, {"two.test": ["127.0.0.2", "127.0.0.1"]})
    gateway.publish(endpoint("chat", entity(base=sandbox.base.replace("127.0.0.1", "two.test"))))
    assert gateway.query().status_code == 200


def test_a_stricter_policy_applies_to_connections_that_are_already_open(
    gateway: GatewayServer, sandbox: SandboxServer
):
    assert gateway.query().status_code == 200
    gateway.publish(egress=EgressPolicy())
    assert gateway.query().status_code == 400
    gateway.publish(egress=replace(EgressPolicy(), listed=("127.0.0.0/8",)))
    assert gateway.query().status_code == 200


def test_no_proxy_of_the_environment_is_used(
    gateway: GatewayServer, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
):
    with raw_server() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        with requests.Session() as direct:
            direct.trust_env = False
            headers = {"Authorization": "Bearer token-owner"}
            url = f"{gateway.url}/serving-endpoints/chat/invocations"
            assert direct.post(url, json=CHAT, headers=headers, timeout=60).status_code == 200
        assert proxy.requests == []
