"""Translates embeddings requests to Google's formats, and the responses back.

Vendor facts as of November 2026, docs.cloud.google.com, "Text embeddings API" and "Get text embeddings": text models take instances
by :predict, up to 250 a request. Gemini models have :embedContent for one text and :batchEmbedContents for several, models as a
service only :embedContent, as in Google's Python client (google-genai 3.4); neither has :predict any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue import openai_request, openai_response
from serving_ui.catalogue.providers.google_cloud_vertex_ai.gemini_contents import NAME
from serving_ui.catalogue.providers.google_cloud_vertex_ai.gemini_request import camel
from serving_ui.catalogue.wire_format import Json, MalformedResponse, RequestContext

PREDICT, EMBED, EMBED_BATCH = "predict", "embedContent", "batchEmbedContents"
_AS_A_SERVICE = "maas"
_INSTANCE_FIELDS = ("task_type", "title")
_PARAMETER_FIELDS = ("autoTruncate", "outputDimensionality")


def embed_request(body: Mapping[str, Any], model: str) -> tuple[str, Json]:
    """The method to call, and its body. Raises UnsupportedRequest."""
    params = openai_request.merge_extra_params(body)
    own = openai_request.vendor_parameters(params, supported=("input", "dimensions"), provider=NAME)
    listed = openai_request.texts(params.get("input"), name="input")
    size = params.get("dimensions")
    if _uses_embed_content(model):
        if _AS_A_SERVICE in model and len(listed) > 1:
            raise openai_request.refuse("input", "This model embeds one text per request.")
        return _content_requests(listed, size, own)
    return PREDICT, _instances(listed, size, own)


def _uses_embed_content(model: str) -> bool:
    name = model.rpartition("/")[2]
    return "gemini" in name or _AS_A_SERVICE in name


def _instances(listed: list[str], size: Any, own: Json) -> Json:
    """The body of :predict: fields of an instance are repeated for each text, the others are parameters."""
    beside = {name: own.pop(name) for name in _INSTANCE_FIELDS if name in own}
    if "taskType" in own:
        beside["task_type"] = own.pop("taskType")
    parameters = {camel(name): own.pop(name) for name in list(own) if camel(name) in _PARAMETER_FIELDS}
    if size is not None:
        parameters["outputDimensionality"] = size
    sent: Json = {"instances": [{"content": text, **beside} for text in listed]}
    return openai_request.merge_parameters({**sent, "parameters": parameters} if parameters else sent, own)


def _content_requests(listed: list[str], size: Any, own: Json) -> tuple[str, Json]:
    beside: Json = {name: own.pop(name) for name in ("content", "requests") if name in own}
    caller_config = own.pop("embedContentConfig", None) or {}
    if not isinstance(caller_config, Mapping):
        raise openai_request.refuse("embedContentConfig", "It must be an object.")
    config = openai_request.merge_parameters(
        {camel(name): value for name, value in own.items()}, caller_config
    )
    if size is not None:
        config = openai_request.merge_parameters({"outputDimensionality": size}, config)
    requests = [
        {
            "content": {"role": "user", "parts": [{"text": text}]},
            **({"embedContentConfig": config} if config else {}),
        }
        for text in listed
    ]
    method, sent = (EMBED, requests[0]) if len(requests) == 1 else (EMBED_BATCH, {"requests": requests})
    return method, openai_request.merge_parameters(sent, beside)


def translate_embeddings(response: Json, context: RequestContext) -> Json:
    """The vectors, from the response of any of the three methods."""
    if "predictions" in response:
        found = [prediction["embeddings"] for prediction in response["predictions"]]
        tokens = sum(int((each.get("statistics") or {}).get("token_count", 0)) for each in found)
    else:
        found = response["embeddings"] if "embeddings" in response else [response["embedding"]]
        tokens = (response.get("usageMetadata") or {}).get("promptTokenCount", 0)
    vectors = [each["values"] for each in found]
    if len(vectors) != len(openai_request.texts(context.body["input"], name="input")):
        raise MalformedResponse("It has not one embedding for each text.")
    return openai_response.embeddings(context, vectors, openai_response.usage(tokens) if tokens else None)
