"""The one way by which the worker reaches a vendor: `send`, under the outbound policy, with the vendor's authentication.

The address is resolved once, checked, and connected to as checked; redirects are never followed. Nothing here retries.
"""

from __future__ import annotations

import json
import socket
from typing import Any, cast

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request as GoogleRequest
from google.oauth2 import service_account
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError
from urllib3.util.connection import create_connection

from serving_ui.catalogue.wire import AwsSigV4, ClientCredentials, GoogleServiceAccount, UpstreamRequest
from serving_ui.lib.egress import EgressPolicy, EgressRefused

CONNECT_SECONDS, READ_SECONDS = 5, 15
LARGEST_REPLY = 64 * 1024  # bytes; a check needs the status and the vendor's words


class CredentialsRefused(Exception):
    """The vendor, or the key itself, says that these credentials are no good; the text is the vendor's."""


def send(request: UpstreamRequest, *, policy: EgressPolicy) -> requests.Response:
    """The vendor's answer with at most LARGEST_REPLY bytes. Raises EgressRefused, CredentialsRefused, RequestException."""
    policy.check_url(request.url)
    with _session(policy) as session:
        headers = {**dict(request.headers), **_authorization(request, session)}
        with session.request(
            request.method,
            request.url,
            headers=headers,
            data=request.body,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            allow_redirects=False,
            stream=True,
        ) as response:
            response._content = response.raw.read(LARGEST_REPLY, decode_content=True)
            return response


def _authorization(request: UpstreamRequest, session: requests.Session) -> dict[str, str]:
    match request.auth:
        case AwsSigV4() as auth:
            return _aws(request, auth)
        case GoogleServiceAccount() as auth:
            return {"Authorization": f"Bearer {_google(auth, session)}"}
        case ClientCredentials() as auth:
            return {"Authorization": f"Bearer {_client_credentials(auth, session)}"}
    return {}


def _aws(request: UpstreamRequest, auth: AwsSigV4) -> dict[str, str]:
    signed = AWSRequest(request.method, request.url, headers=dict(request.headers), data=request.body or b"")
    keys = Credentials(auth.access_key_id.reveal(), auth.secret_access_key.reveal())
    SigV4Auth(keys, auth.service, auth.region).add_auth(signed)
    return dict(signed.headers.items())


def _google(auth: GoogleServiceAccount, session: requests.Session) -> str:
    try:
        info = {**json.loads(auth.key_json.reveal()), "token_uri": auth.token_url}
        make: Any = service_account.Credentials.from_service_account_info
        account = make(info, scopes=[auth.scope])
    except (ValueError, TypeError, AttributeError, GoogleAuthError):
        raise CredentialsRefused("The private key is not the JSON file of a service account.") from None
    try:
        account.refresh(GoogleRequest(session))
    except GoogleAuthError as error:
        if getattr(error, "retryable", False):
            raise requests.ConnectionError(str(error)) from None
        raise CredentialsRefused(str(error.args[0])) from None
    return str(account.token)


def _client_credentials(auth: ClientCredentials, session: requests.Session) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": auth.client_id,
        "client_secret": auth.client_secret.reveal(),
        "scope": auth.scope,
    }
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    answer = session.post(auth.token_url, data=form, timeout=timeout, allow_redirects=False)
    if answer.status_code in (400, 401, 403):
        raise CredentialsRefused(words_of(answer))
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def words_of(response: requests.Response) -> str:
    """What the vendor said, found in the usual places of its JSON, else the beginning of its text."""
    if "html" in response.headers.get("Content-Type", ""):
        return "a web page, not an answer of an API. Is the address right?"
    try:
        body = response.json()
    except ValueError:
        return response.text.strip()[:500]
    found: Any = body
    if isinstance(body, dict):
        found = (
            body.get("error_description")
            or body.get("error")
            or body.get("message")
            or body.get("detail")
            or body
        )
        if isinstance(found, dict):
            found = found.get("message") or found
    return str(found).strip()[:500]


def _session(policy: EgressPolicy) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxy or netrc of the environment: the policy sees every address
    adapter = _PolicyAdapter(policy)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _PolicyAdapter(HTTPAdapter):
    """Connects only to addresses that the policy allows."""

    def __init__(self, policy: EgressPolicy) -> None:
        self.policy = policy
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        manager = cast(PoolManager, self.poolmanager)
        manager.pool_classes_by_scheme = _pools(self.policy)


def _pools(policy: EgressPolicy) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools whose connections resolve once, check, and connect to what was checked."""

    def connect(connection: HTTPConnection) -> socket.socket:
        problem: OSError | None = None
        try:
            for address in policy.resolve(host=connection.host, port=connection.port):
                try:
                    return create_connection(
                        (address, connection.port),
                        connection.timeout,
                        socket_options=connection.socket_options,
                    )
                except OSError as error:
                    problem = error
        except OSError as error:
            problem = error
        raise NewConnectionError(connection, f"cannot connect to {connection.host}: {problem}")

    class PolicyHTTP(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class PolicyHTTPS(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class HTTP(HTTPConnectionPool):
        ConnectionCls = PolicyHTTP

    class HTTPS(HTTPSConnectionPool):
        ConnectionCls = PolicyHTTPS

    return {"http": HTTP, "https": HTTPS}


__all__ = ["CredentialsRefused", "EgressRefused", "send", "words_of"]
