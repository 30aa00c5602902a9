"""Recorded exchanges with vendors: data files under tests/catalogue/wire/<provider>/, made by hand from the vendors' documentation.

A recording is one JSON file: `task`, `model`, `config` (the block of the API, secrets in their `_plaintext` spelling, `{vendor}` for
the vendor's address where the block has one, `{service_account}` for a
key of Google), `openai_request` (the caller's body) and `request` (the expected upstream request: `path`, `headers`, `body`), and then either `reply` (the vendor's) with
`answer` (OpenAI-shaped), or `chunks` (OpenAI-shaped) with the vendor's stream in a file of the same name: `.sse` as it comes over
the wire, `.jsonl` where each line of it is an object, or `.events` as a JSON list of [name, data] for framings that are no text.
`refusals.json` lists requests that the provider does not support: [task, the parameter that the refusal must name, request].
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import Addresses, UpstreamRequest
from serving_ui.catalogue.wire_format import Framing, RequestContext, StreamEvent, WireFormat
from tests.support import event_stream_frames, vendor_rules
from tests.support.google_service_account import service_account

FOLDER = Path(__file__).parents[1] / "catalogue" / "wire"
REFUSALS_FILE = "refusals.json"
SERVICE_ACCOUNT = "{service_account}"
VENDOR = "http://vendor.example:1"


def all_addresses(base: str) -> Addresses:
    """Addresses that replace every vendor's default address by `base`."""
    return Addresses(dict.fromkeys((*PROVIDERS, "microsoft-entra"), base))


@dataclass(frozen=True)
class Recording:
    provider: Provider
    task: Task
    model: str
    block: str = field(repr=False)
    openai_request: dict[str, Any]
    request: dict[str, Any]
    path: Path = field(repr=False)
    reply: Any = None
    answer: dict[str, Any] | None = None
    chunks: list[dict[str, Any]] | None = None

    def __str__(self) -> str:
        return f"{self.provider.name}-{self.path.stem}"

    @property
    def wire_format(self) -> WireFormat:
        return self.provider.wire_formats[self.task]

    @property
    def context(self) -> RequestContext:
        return RequestContext(body=self.openai_request, model=self.model, id="made-here", created=1)

    def config(self, base: str = VENDOR) -> ProviderConfig:
        filled = self.block.replace("{vendor}", base)
        if SERVICE_ACCOUNT in filled:
            filled = filled.replace(SERVICE_ACCOUNT, json.dumps(service_account())[1:-1])
        return self.provider.config.model_validate(json.loads(filled))

    def build_request(
        self, openai_request: dict[str, Any] | None = None, *, checked: bool = True
    ) -> UpstreamRequest:
        """The upstream request for the recorded request, or for another one. `checked`: vendor_rules must accept it."""
        body = self.openai_request if openai_request is None else openai_request
        request = self.wire_format.build_request(body, self.config(), self.model, all_addresses(VENDOR))
        if checked:
            assert vendor_rules.rejection(urlsplit(request.url).path, request.body) is None
        return request

    def stream(self) -> bytes:
        """The vendor's stream as it comes over the wire."""
        if self.wire_format.framing is Framing.SSE:
            return self._text().read_bytes()
        return b"".join(event_stream_frames.event(each.name, each.data) for each in self.events())

    @property
    def content_type(self) -> str:
        """The media type of the vendor's stream."""
        lines = self.wire_format.framing is Framing.SSE and self._text().suffix == ".jsonl"
        return (Framing.LINES if lines else self.wire_format.framing).value

    def _text(self) -> Path:
        lines = self.path.with_suffix(".jsonl")
        return lines if lines.exists() else self.path.with_suffix(".sse")

    def events(self) -> list[StreamEvent]:
        """The events of the vendor's stream."""
        if self.wire_format.framing is Framing.AWS:
            listed = json.loads(self.path.with_suffix(".events").read_text())
            return [StreamEvent(name, data) for name, data in listed]
        if self._text().suffix == ".jsonl":
            return [StreamEvent("", json.loads(line)) for line in self.stream().splitlines()]
        blocks = self.stream().decode().strip().split("\n\n")
        return [_event(block) for block in blocks if block != "data: [DONE]"]


def _event(block: str) -> StreamEvent:
    fields = [line.partition(": ") for line in block.split("\n")]
    name = "".join(value for field, _, value in fields if field == "event")
    return StreamEvent(name, json.loads("".join(value for field, _, value in fields if field == "data")))


def _read(path: Path) -> Recording:
    read = json.loads(path.read_text())
    provider = PROVIDERS[path.parent.name]
    block = json.dumps(read.pop("config"))
    return Recording(provider=provider, task=Task(read.pop("task")), block=block, path=path, **read)


RECORDINGS = [_read(path) for path in sorted(FOLDER.glob("*/*.json")) if path.name != REFUSALS_FILE]
WITH_REPLY = [each for each in RECORDINGS if each.answer is not None]
WITH_STREAM = [each for each in RECORDINGS if each.chunks is not None]


@dataclass(frozen=True)
class Refusal:
    provider: Provider
    task: Task
    parameter: str
    openai_request: dict[str, Any]
    number: int

    def __str__(self) -> str:
        return f"{self.provider.name}-{self.number}-{self.parameter}"

    @property
    def recording(self) -> Recording:
        """A recording of the same provider and task that is not refused."""
        return next(each for each in RECORDINGS if (each.provider, each.task) == (self.provider, self.task))


def _refusals(path: Path) -> list[Refusal]:
    provider = PROVIDERS[path.parent.name]
    return [
        Refusal(provider, Task(task), parameter, openai_request, number)
        for number, (task, parameter, openai_request) in enumerate(json.loads(path.read_text()), 1)
    ]


REFUSED = [refusal for path in sorted(FOLDER.glob(f"*/{REFUSALS_FILE}")) for refusal in _refusals(path)]


def replace_value(content: Any, at: int, value: Any) -> Any:
    """A copy of the content in which `value` replaces one of its values: number `at`, counted in depth-first order."""
    places: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        for key in inner if isinstance(inner, dict) else range(len(inner)):
            places.append((inner, key))
            if isinstance(inner[key], dict | list):
                walk(inner[key])

    copied = json.loads(json.dumps(content))
    walk(copied)
    if not places:
        return value
    holder, key = places[at % len(places)]
    holder[key] = value
    return copied
