"""The completions task: prompt in OpenAI's format → `POST /{model}/complete` for Jurassic models, `POST /chat/completions` for all others.

Vendor facts as of November 2026, docs.ai21.com/reference/j2-complete-ref and …/docs/migrating-from-jurassic-to-jamba. Jurassic has
camel-case names, does not stream, and lists its tokens instead of counting them.
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
    """The body for a Jurassic model; the model is in the URL."""
    body = openai_request.merge_extra_params(body)
    if body.get("stream"):
        raise refuse("stream", "Jurassic models do not stream. Leave it out.")
    own = openai_request.vendor_parameters(body, supported=(*_SUPPORTED, *_PENALTIES), provider=jamba.NAME)
    parameters = {
        "numResults": openai_request.number(body, "n", minimum=1, maximum=16),
        "maxTokens": openai_request.max_tokens(body),
        "temperature": openai_request.number(body, "temperature", minimum=0, maximum=1),
        "topP": openai_request.number(body, "top_p", minimum=0, maximum=1),
        "stopSequences": openai_request.stop_sequences(body, jamba.RULES) or None,
        **{
            vendor_name: _penalty(openai_request.number(body, name, minimum=0, maximum=_MAX_PENALTY[name]))
            for name, vendor_name in _PENALTIES.items()
        },
    }
    sent = {name: value for name, value in parameters.items() if value is not None}
    return openai_request.merge_parameters(
        {"prompt": openai_request.single_prompt(body, jamba.RULES), **sent}, own
    )


def _penalty(scale: float | None) -> Json | None:
    return {"scale": scale} if scale else None


def chat_body(body: Json, model: str) -> Json:
    """The body for a Jamba model, with the prompt as a user message."""
    body = openai_request.merge_extra_params(body)
    own = openai_request.vendor_parameters(body, supported=_SUPPORTED, provider=jamba.NAME)
    messages = [{"role": "user", "content": openai_request.single_prompt(body, jamba.RULES)}]
    return {"model": model, "messages": messages, **jamba.sampling(body), **own}


def translate_completion(response: Json, context: RequestContext) -> Json:
    """The response of either URL as a `text_completion`."""
    if "choices" in response:
        choices = [(each["message"]["content"] or "", each["finish_reason"]) for each in response["choices"]]
        counts = jamba.translate_usage(response.get("usage"))
        return openai_response.text_completion(
            context, choices, counts, id=response["id"], model=response.get("model") or ""
        )
    listed = response["completions"]
    choices = [
        (each["data"]["text"], FINISH_REASONS.get(each["finishReason"]["reason"], "stop")) for each in listed
    ]
    counts = openai_response.usage(
        len(response["prompt"]["tokens"]), sum(len(each["data"]["tokens"]) for each in listed)
    )
    return openai_response.text_completion(context, choices, counts, id=str(response["id"]))


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
        chunks = [
            text for chunk in self._chat.take(event) if (text := self._to_text_chunk(chunk)) is not None
        ]
        self.finished = self._chat.finished
        return chunks

    def _to_text_chunk(self, chunk: Json) -> Json | None:
        if not chunk["choices"]:
            return openai_response.usage_chunk(
                self._context, chunk["usage"], kind="text_completion", id=chunk["id"]
            )
        choice = chunk["choices"][0]
        text = choice["delta"].get("content") or ""
        if not text and not choice["finish_reason"]:
            return None
        return openai_response.text_chunk(
            self._context, text, index=choice["index"], finish_reason=choice["finish_reason"], id=chunk["id"]
        )
