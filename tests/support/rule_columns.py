"""The columns of the rule table: the vendors whose wire format is not OpenAI's, Bedrock once per model maker."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import Addresses
from serving_ui.catalogue.wire_format import RequestContext, WireFormat
from serving_ui.gateway.inference_request import read_body
from tests.support import vendor_rules
from tests.support.google_service_account import service_account
from tests.support.vendor_requests import VendorRequest, parse_vendor_request

_BASE = "http://vendor.example:1"
_BEDROCK = {
    "aws_region": "us-east-1",
    "aws_access_key_id_plaintext": "AKIDEXAMPLE",
    "aws_secret_access_key_plaintext": "key-1",
}
_VERTEX = {
    "project_id": "my-project",
    "region": "us-central1",
    "private_key_plaintext": json.dumps(service_account()),
}


@dataclass(frozen=True)
class Column:
    name: str
    provider: Provider
    chat: str
    """The model used for the chat task."""
    completions: tuple[str, ...]
    """Models used for the completions task: one per API path."""
    block: dict[str, Any]

    def __str__(self) -> str:
        return self.name

    def wire_format(self, task: Task) -> WireFormat:
        return self.provider.wire_formats[task]

    def sent(
        self, openai_request: dict[str, Any], *, task: Task = Task.CHAT, model: str = ""
    ) -> dict[str, Any]:
        """The vendor's request body for an OpenAI-shaped request, checked by vendor_rules. Raises UnsupportedRequest."""
        body = read_body(json.dumps(openai_request).encode())
        config = self.provider.config.model_validate(self.block)
        addresses = Addresses(dict.fromkeys(PROVIDERS, _BASE))
        request = self.wire_format(task).build_request(body, config, model or self.chat, addresses)
        assert vendor_rules.rejection(urlsplit(request.url).path, request.body) is None
        content: dict[str, Any] = json.loads(request.body or b"")
        return content

    def vendor_request(self, openai_request: dict[str, Any]) -> VendorRequest:
        return parse_vendor_request(self.provider.name, self.sent(openai_request))

    def context(self, openai_request: dict[str, Any]) -> RequestContext:
        return RequestContext(body=openai_request, model=self.chat, id="made-here", created=1)


def _bedrock(maker: str, chat: str, *completions: str) -> Column:
    block = {**_BEDROCK, "bedrock_provider": maker}
    return Column(f"bedrock-{maker}", PROVIDERS["amazon-bedrock"], chat, completions, block)


COLUMNS = (
    Column(
        "anthropic",
        PROVIDERS["anthropic"],
        "claude-sonnet-4-5",
        ("claude-2.1", "claude-sonnet-4-5"),
        {"anthropic_api_key_plaintext": "key-1"},
    ),
    _bedrock("anthropic", "claude-3-5-sonnet-20241022-v2:0", "claude-v2"),
    _bedrock("amazon", "nova-lite-v1:0", "nova-lite-v1:0"),
    _bedrock("cohere", "command-r-v1:0", "command-text-v14"),
    _bedrock("ai21labs", "jamba-1-5-large-v1:0", "j2-ultra-v1"),
    _bedrock("grok", "grok-4.1-fast", "grok-4.1-fast"),
    Column(
        "vertex",
        PROVIDERS["google-cloud-vertex-ai"],
        "gemini-3.5-flash",
        ("gemini-3.5-flash",),
        _VERTEX,
    ),
    Column(
        "cohere",
        PROVIDERS["cohere"],
        "command-r-plus-08-2024",
        ("command", "command-r-plus-08-2024"),
        {"cohere_api_key_plaintext": "key-1"},
    ),
    Column(
        "ai21",
        PROVIDERS["ai21labs"],
        "jamba-large",
        ("j2-ultra", "jamba-large"),
        {"ai21labs_api_key_plaintext": "key-1"},
    ),
)


def substitute(stem: str, text: str) -> str:
    """The substitute for a tool name or id that the vendor would reject: `stem` and a hash of `text`."""
    return f"{stem}__x{sha256(text.encode()).hexdigest()[:12]}"
