"""TLS certificates are checked against the host name, although the gateway connects to an address that it has resolved."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving_ui.gateway.app import Gateway
from serving_ui.gateway.snapshot import SnapshotHolder
from serving_ui.gateway.upstream import UpstreamClient
from serving_ui.sandbox.app import make_sandbox
from tests.gateway.conftest import Application, GatewayServer, endpoint, entity, first_snapshot
from tests.gateway.test_egress import resolve_as
from tests.support.asgi_server import RunningServer, serve
from tests.support.certificates import make_certificate

NAME = "provider.test"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"), host=NAME)


@pytest.fixture(scope="module")
def provider(certificate: tuple[Path, Path]) -> Iterator[RunningServer]:
    cert, key = certificate
    with serve(make_sandbox(), ssl_certfile=str(cert), ssl_keyfile=str(key)) as running:
        yield running


@pytest.fixture
def trusting(certificate: tuple[Path, Path]) -> Iterator[GatewayServer]:
    """A gateway that trusts only the certificate of the fixture `certificate`."""
    context = ssl.create_default_context(cafile=str(certificate[0]))
    made = Gateway(SnapshotHolder(first_snapshot()), client=UpstreamClient(tls=context))
    with serve(Application(made)) as running:
        yield GatewayServer(running.url, made.holder, made)


def test_the_certificate_must_match_the_host_name(
    trusting: GatewayServer, provider: RunningServer, monkeypatch: pytest.MonkeyPatch
):
    resolve_as(monkeypatch, {NAME: ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    trusting.publish(
        endpoint("right", entity(base=f"https://{NAME}:{provider.port}/sandbox/v1")),
        endpoint("wrong", entity(base=f"https://other.test:{provider.port}/sandbox/v1")),
        endpoint("address", entity(base=f"https://127.0.0.1:{provider.port}/sandbox/v1")),
    )
    assert trusting.query("right").status_code == 200
    for name in ("wrong", "address"):
        answer = trusting.query(name)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")
        assert "certificate" in answer.json()["message"]


def test_an_unknown_authority_is_not_trusted(
    gateway: GatewayServer, provider: RunningServer, monkeypatch: pytest.MonkeyPatch
):
    resolve_as(monkeypatch, {NAME: ["127.0.0.1"]})
    gateway.add(endpoint("tls", entity(base=f"https://{NAME}:{provider.port}/sandbox/v1")))
    answer = gateway.query("tls")
    assert answer.status_code == 400
    assert "certificate" in answer.json()["message"]


def test_plain_http_to_a_tls_port_is_an_error(trusting: GatewayServer, provider: RunningServer):
    trusting.publish(endpoint("plain", entity(base=f"http://127.0.0.1:{provider.port}/sandbox/v1")))
    assert trusting.query("plain").status_code in {400, 503}
