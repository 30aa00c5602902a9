"""Amazon Bedrock: signatures, keys from the instance profile, and streams in Amazon's event-stream framing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import AwsInstanceProfile, UpstreamRequest
from serving_ui.gateway.app import Gateway
from serving_ui.gateway.aws_event_stream import FrameSplitter
from serving_ui.gateway.aws_signing import AwsSigner
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.snapshot import SnapshotHolder
from tests.gateway.conftest import CHAT, Application, GatewayServer, first_snapshot
from tests.support import event_stream_frames
from tests.support.asgi_server import serve
from tests.support.aws_signature import is_signed
from tests.support.vendor import Answer, Vendor, running_vendor

KEY_ID, SECRET = "AKIACANARY5D41402ABC", "aws-canary-5d41402abc4b2a76b9719d911017c592"
ARN = "arn:aws:iam::123456789012:instance-profile/bedrock"
ACCESS_KEYS = {"aws_access_key_id_plaintext": KEY_ID, "aws_secret_access_key_plaintext": SECRET}
PROFILE = {"instance_profile_arn": ARN}
MODEL = "claude-3-5-haiku-20241022-v1:0"
REPLY = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
}
STREAM = {**CHAT, "stream": True}
FIRST_FRAMES = [
    event_stream_frames.event("messageStart", {"role": "assistant"}),
    event_stream_frames.event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hel"}}),
]


def add_endpoint(gateway: GatewayServer, vendor: Vendor, credentials: dict[str, str]) -> None:
    block = {"aws_region": "eu-west-1", "bedrock_provider": "anthropic", **credentials}
    config = PROVIDERS["amazon-bedrock"].config.model_validate(block)
    gateway.add_endpoint(vendor, provider="amazon-bedrock", model=MODEL, config=config)


@pytest.mark.parametrize("body", [CHAT, {"messages": [{"role": "user", "content": "世界 %2F"}]}])
def test_the_signature_of_a_request_is_valid(gateway: GatewayServer, vendor: Vendor, body: dict[str, Any]):
    add_endpoint(gateway, vendor, ACCESS_KEYS | {"aws_secret_access_key_plaintext": f" {SECRET}\n"})
    vendor.set_answers(Answer.json(REPLY))
    assert gateway.query("vendor", body).status_code == 200
    (request,) = vendor.requests
    assert is_signed(request, key_id=KEY_ID, secret=SECRET, region="eu-west-1", service="bedrock")


def test_a_retried_request_is_signed_again(gateway: GatewayServer, vendor: Vendor):
    add_endpoint(gateway, vendor, ACCESS_KEYS)
    refused = Answer.json({"message": "Not now."}, status=503, headers={"Retry-After": "0"})
    vendor.set_answers(refused, Answer.json(REPLY))
    assert gateway.query("vendor").status_code == 200
    assert len(vendor.requests) == 2
    for request in vendor.requests:
        assert is_signed(request, key_id=KEY_ID, secret=SECRET, region="eu-west-1", service="bedrock")


def test_an_unsupported_service_credential_is_refused_with_the_supported_ones(
    gateway: GatewayServer, vendor: Vendor
):
    add_endpoint(gateway, vendor, {"uc_service_credential_name": "theirs"})
    answer = gateway.query("vendor")
    assert answer.status_code == 400
    assert "give access keys or an instance profile" in answer.json()["message"]
    assert not vendor.requests


@pytest.mark.parametrize(
    ("status", "shown"), [(400, 400), (403, 400), (424, 500), (429, 429), (500, 500), (503, 503)]
)
def test_an_error_of_bedrock_is_quoted_without_the_key(
    gateway: GatewayServer, vendor: Vendor, status: int, shown: int
):
    add_endpoint(gateway, vendor, ACCESS_KEYS)
    vendor.set_answers(
        Answer.json({"message": f"No model access for {KEY_ID}, says Bedrock."}, status=status)
    )
    answer = gateway.query("vendor")
    assert answer.status_code == shown
    assert "says Bedrock" in answer.json()["message"]
    assert KEY_ID not in answer.text


@pytest.mark.parametrize("name", ["throttlingException", "modelStreamErrorException"])
def test_an_exception_within_a_stream_becomes_an_error_event(
    gateway: GatewayServer, vendor: Vendor, name: str
):
    add_endpoint(gateway, vendor, ACCESS_KEYS)
    vendor.set_answers(
        Answer.stream(
            *FIRST_FRAMES,
            event_stream_frames.event(name, {"message": "Too many."}),
            kind=event_stream_frames.CONTENT_TYPE,
        )
    )
    lines = gateway.query("vendor", STREAM).text.strip().split("\n\n")
    assert '"content":"Hel"' in lines[1]
    assert "Too many." in json.loads(lines[-1].removeprefix("data: "))["error"]["message"]


def test_an_error_as_the_first_frame_becomes_an_error_status(gateway: GatewayServer, vendor: Vendor):
    add_endpoint(gateway, vendor, ACCESS_KEYS)
    headers = {":message-type": "error", ":error-code": "InternalError", ":error-message": "It broke."}
    vendor.set_answers(
        Answer.stream(event_stream_frames.frame(headers), kind=event_stream_frames.CONTENT_TYPE)
    )
    answer = gateway.query("vendor", STREAM)
    assert answer.status_code == 500
    assert "It broke." in answer.json()["message"]


def test_tokens_are_estimated_when_the_provider_reports_none(gateway: GatewayServer, vendor: Vendor):
    block = {"aws_region": "eu-west-1", "bedrock_provider": "cohere", **ACCESS_KEYS}
    gateway.add_endpoint(
        vendor,
        provider="amazon-bedrock",
        model="embed-english-v3",
        config=PROVIDERS["amazon-bedrock"].config.model_validate(block),
        task=Task.EMBEDDINGS,
    )
    vendor.set_answers(Answer.json({"embeddings": [[0.5, 1]], "response_type": "embeddings_floats"}))
    assert gateway.query("vendor", {"input": "twelve chars"}).status_code == 200
    record = gateway.usage.last
    assert (record.tokens_in, record.tokens_source) == (3, "estimated")


def damaged(at: int) -> bytes:
    content = bytearray(event_stream_frames.event("messageStop", {"stopReason": "end_turn"}))
    content[at] ^= 0xFF
    return bytes(content)


@pytest.mark.parametrize(
    "bad",
    [
        *(damaged(at) for at in (5, 9, 20, -5, -1)),
        b"\x00\x00\x00\x0c" + b"\x00" * 12,
        b"\x7f\xff\xff\xff" + b"\x00" * 12,
        b"data: {}\n\n" * 3,
        event_stream_frames.frame({":event-type": "messageStop", ":message-type": "event"}, b"\xff\xfe"),
        event_stream_frames.frame({":event-type": "messageStop", ":message-type": "event"}, b"[1]"),
    ],
)
def test_a_damaged_frame_ends_the_stream_with_an_error(gateway: GatewayServer, vendor: Vendor, bad: bytes):
    add_endpoint(gateway, vendor, ACCESS_KEYS)
    vendor.set_answers(Answer.stream(b"".join(FIRST_FRAMES) + bad, kind=event_stream_frames.CONTENT_TYPE))
    answer = gateway.query("vendor", STREAM)
    assert '"content":"Hel"' in answer.text
    assert "cannot be understood" in answer.text
    assert "[DONE]" not in answer.text


def test_frames_are_split_correctly_when_they_arrive_byte_by_byte():
    splitter, whole = FrameSplitter(), FrameSplitter()
    content = b"".join(FIRST_FRAMES) + event_stream_frames.event("messageStop", {"stopReason": "end_turn"})
    events = [event for at in range(len(content)) for event in splitter.feed(content[at : at + 1])]
    assert events == whole.feed(content)
    assert [name for name, _ in events] == [b"messageStart", b"contentBlockDelta", b"messageStop"]


def test_importing_the_gateway_does_not_import_botocore():
    program = "import sys, serving_ui.gateway.app; sys.exit('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# Keys from the instance profile of the machine.


def keys(name: str, *, hours: float = 6) -> Answer:
    ends = datetime.now(UTC) + timedelta(hours=hours)
    credentials = {
        "Code": "Success",
        "AccessKeyId": name,
        "SecretAccessKey": f"secret-of-{name}",
        "Token": f"token-of-{name}",
        "Expiration": ends.isoformat(),
    }
    return Answer.json(credentials)


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    """The instance metadata service of the machine."""
    with running_vendor() as server:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
        server.set_answers(Answer(portions=(b"metadata-token",)), at="/latest/api/token")
        server.set_answers(Answer(portions=(b"the-role",)), at="/iam/security-credentials/")
        server.set_answers(keys("ASIAFIRST"), at="/iam/security-credentials/the-role")
        server.set_answers(Answer.json({"Code": "Success", "InstanceProfileArn": ARN}), at="/iam/info")
        yield server


def credential_requests(metadata: Vendor) -> int:
    return sum(request.path.endswith("/the-role") for request in metadata.requests)


@pytest.fixture
def machine(metadata: Vendor, vendor: Vendor) -> Iterator[GatewayServer]:
    """A gateway of the test's own, because a gateway caches keys."""
    made = Gateway(SnapshotHolder(first_snapshot()))
    with serve(Application(made)) as running:
        server = GatewayServer(running.url, made.holder, made)
        add_endpoint(server, vendor, PROFILE)
        vendor.set_answers(Answer.json(REPLY))
        yield server


def test_the_keys_of_the_instance_profile_are_fetched_once(
    machine: GatewayServer, vendor: Vendor, metadata: Vendor
):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: machine.query("vendor").status_code, range(24)))
    assert answers == [200] * 24
    assert credential_requests(metadata) == 1
    for request in vendor.requests:
        assert request.headers["x-amz-security-token"] == "token-of-ASIAFIRST"
        assert is_signed(
            request, key_id="ASIAFIRST", secret="secret-of-ASIAFIRST", region="eu-west-1", service="bedrock"
        )


def test_a_machine_with_another_instance_profile_is_refused(
    machine: GatewayServer, vendor: Vendor, metadata: Vendor
):
    metadata.set_answers(Answer.json({"InstanceProfileArn": f"{ARN}-of-others"}), at="/iam/info")
    answer = machine.query("vendor")
    assert answer.status_code == 400
    assert (
        f"uses the instance profile {ARN}, but this machine has {ARN}-of-others" in answer.json()["message"]
    )
    assert not vendor.requests


def test_a_missing_instance_profile_is_not_looked_up_for_each_query(machine: GatewayServer, metadata: Vendor):
    metadata.set_answers(Answer.json({}, status=404), at="/iam/security-credentials/")
    metadata.set_answers(Answer.json({}, status=404), at="/iam/security-credentials/the-role")
    for _ in range(5):
        answer = machine.query("vendor")
        assert answer.status_code == 400
        assert "this machine has none" in answer.json()["message"]
    assert len(metadata.requests) <= 3


class Clock:
    """A clock that a test advances, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


REQUEST = UpstreamRequest(
    "POST", "https://bedrock.example/x", (), b"{}", AwsInstanceProfile("bedrock", "eu-west-1", ARN)
)


async def used_key(signer: AwsSigner) -> str:
    signed = dict((await signer.sign(REQUEST)).headers)
    return signed["X-Amz-Security-Token"].removeprefix("token-of-")


async def key_after_renewal(signer: AwsSigner, name: str) -> str:
    """Waits until a renewal in the background is done; returns the key id that is used then."""
    async with asyncio.timeout(20):
        while (found := await used_key(signer)) != name:
            await asyncio.to_thread(lambda: None)
    return found


def test_keys_are_renewed_in_the_background_while_they_are_valid(metadata: Vendor):
    async def scenario() -> None:
        clock = Clock()
        signer = AwsSigner(clock=clock)
        assert await used_key(signer) == "ASIAFIRST"
        metadata.set_answers(keys("ASIASECOND"), at="/iam/security-credentials/the-role")
        clock.now += 5.7 * 3600
        assert await used_key(signer) == "ASIAFIRST"
        assert credential_requests(metadata) == 1
        clock.now += 0.1 * 3600  # a quarter of an hour before the end
        assert await used_key(signer) == "ASIAFIRST"
        assert await key_after_renewal(signer, "ASIASECOND")
        assert credential_requests(metadata) == 2

    asyncio.run(scenario())


def test_keys_are_used_until_they_expire_when_a_renewal_fails(metadata: Vendor):
    async def scenario() -> None:
        clock = Clock()
        signer = AwsSigner(clock=clock)
        assert await used_key(signer) == "ASIAFIRST"
        metadata.set_answers(Answer.json({}, status=500), at="/iam/security-credentials/the-role")
        clock.now += 5.9 * 3600
        assert await used_key(signer) == "ASIAFIRST"
        clock.now += 0.2 * 3600
        with pytest.raises(GatewayError) as refused:
            await used_key(signer)
        assert (refused.value.status, refused.value.retry_after) == (503, 10)
        metadata.set_answers(keys("ASIASECOND"), at="/iam/security-credentials/the-role")
        clock.now += 60
        assert await used_key(signer) == "ASIASECOND"

    asyncio.run(scenario())
