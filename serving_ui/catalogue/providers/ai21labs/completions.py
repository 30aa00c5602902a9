"""The completions task: OpenAI-shaped prompt → `POST /{model}/complete` for Jurassic models, `POST /chat/completions` for all others.

Vendor facts as of November 2026, docs.ai21.com/reference/j2-complete-ref and …/docs/migrating-from-jurassic-to-jamba. Jurassic is
spelled in camels, does not stream, and counts its tokens by listing them.
"""

from __future__ import annotations

from serving_ui.catalogue import openai_request, openai_response
from serving_ui.catalogue.openai_request import refuse
from serving_ui.catalogue.providers.ai21labs import jamba
from serving_ui.catalogue.wire_format import Json, RequestContext, StreamEvent

_SUPPORTED = ("prompt", "n", "max_tokens", "temperature", "top_p", "stop")
_PENALTIES = {"frequency_penalty": "frequencyPenalty", "presence_penalty": "presencePenalty"}
_MAX_PENALTY = {"frequency_penalty": 500, "presence_penalty": 5}
FINISH_REASONS = {"length": "length", "endoftext": "stop", "stop": "stop"}


def is_jurassic(model: str) -> bool:
    return model.startswith("j2-")


def complete_body(body: Json) -> Json:
    """The body for a Jurassic model; the model is in the address."""
    body = openai_request.merge_extra_params(body)
    if body.get("stream"):
        raise refuse("stream", "Jurassic models do not stream. Leave it out.")
    own = openai_request.vendor_parameters(body, supported=(*_SUPPORTED, *_PENALTIES), provider=jamba.NAME)
    given = {
        "numResults": openai_request.number(body, "n", minimum=1, maximum=16),
        "maxTokens": openai_request.max_tokens(body),
        "temperature": openai_request.number(body, "temperature", minimum=0, maximum=1),
        "topP": openai_request.number(body, "top_p", minimum=0, maximum=1),
        "stopSequences": openai_request.stop_sequences(body, jamba.RULES) or None,
        **{
            spelled: _penalty(openai_request.number(body, name, minimum=0, maximum=_MAX_PENALTY[name]))
            for name, spelled in _PENALTIES.items()
        },
    }
    sent = {name: value for name, value in given.items() if value is not None}
    return openai_request.merge_parameters(
        {"prompt": openai_request.single_prompt(body, jamba.RULES), **sent}, own
    )


def _penalty(scale: float | None) -> Json | None:
    return {"scale": scale} if scale else None


def chat_body(body: Json, model: str) -> Json:
    """The body for a Jamba model, which takes the prompt as a question."""
    body = openai_request.merge_extra_params(body)
    own = openai_request.vendor_parameters(body, supported=_SUPPORTED, provider=jamba.NAME)
    messages = [{"role": "user", "content": openai_request.single_prompt(body, jamba.RULES)}]
    return {"model": model, "messages": messages, **jamba.sampling(body), **own}


def translate_completion(reply: Json, context: RequestContext) -> Json:
    """The answer of either address as a `text_completion`."""
    if "choices" in reply:
        said = [(each["message"]["content"] or "", each["finish_reason"]) for each in reply["choices"]]
        told = jamba.translate_usage(reply.get("usage"))
        return openai_response.text_completion(
            context, said, told, id=reply["id"], model=reply.get("model") or ""
        )
    listed = reply["completions"]
    choices = [
        (each["data"]["text"], FINISH_REASONS.get(each["finishReason"]["reason"], "stop")) for each in listed
    ]
    counts = openai_response.usage(
        len(reply["prompt"]["tokens"]), sum(len(each["data"]["tokens"]) for each in listed)
    )
    return openai_response.text_completion(context, choices, counts, id=str(reply["id"]))


class CompletionStream:
    """One stream of Jamba, as `text_completion` chunks."""

    def __init__(self, context: RequestContext) -> None:
        self.finished = False
        self._context = context
        self._chat = jamba.ChatStream(context)

    @property
    def counts(self) -> Json | None:
        return self._chat.counts

    def take(self, event: StreamEvent) -> list[Json]:
        chunks = [text for chunk in self._chat.take(event) if (text := self._as_text(chunk)) is not None]
        self.finished = self._chat.finished
        return chunks

    def _as_text(self, chunk: Json) -> Json | None:
        if not chunk["choices"]:
            return openai_response.usage_chunk(
                self._context, chunk["usage"], kind="text_completion", id=chunk["id"]
            )
        said = chunk["choices"][0]
        text = said["delta"].get("content") or ""
        if not text and not said["finish_reason"]:
            return None
        return openai_response.text_chunk(
            self._context, text, index=said["index"], finish_reason=said["finish_reason"], id=chunk["id"]
        )
