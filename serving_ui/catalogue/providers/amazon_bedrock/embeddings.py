"""Translates embeddings requests and responses for Amazon Titan and Cohere through InvokeModel. No I/O.

Vendor facts as of November 2026, docs.aws.amazon.com: "Amazon Titan Embeddings" (one text a request; `dimensions` from version 2 on) and
"Cohere Embed" (at most 96 texts; `input_type` is required, `output_dimension` from version 4 on). Cohere's responses
have no token counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue import openai_request, openai_response
from serving_ui.catalogue.openai_request import refuse
from serving_ui.catalogue.providers.amazon_bedrock.converse_request import PROVIDER
from serving_ui.catalogue.wire_format import Json, RequestContext

_MAX_TEXTS = 96
_SUPPORTED = ("input", "dimensions")
_INPUT_TYPE = "search_document"
"""The default for Cohere's models, because OpenAI's requests do not have the purpose of the vectors."""


def embed_body(body: Mapping[str, Any], *, maker: str) -> Json:
    """The body of the request in the format of the maker."""
    body = openai_request.merge_extra_params(body)
    own = openai_request.vendor_parameters(body, supported=_SUPPORTED, provider=PROVIDER)
    listed = openai_request.texts(body["input"], name="input")
    if maker == "cohere":
        return _for_cohere(own, listed, body.get("dimensions"))
    if len(listed) != 1:
        raise refuse("input", "This model embeds one text per request.")
    sent = {"inputText": listed[0]}
    if body.get("dimensions") is not None:
        sent |= {"dimensions": body["dimensions"]}
    return openai_request.merge_parameters(sent, own)


def _for_cohere(own: Json, listed: list[str], dimensions: Any) -> Json:
    if not 1 <= len(listed) <= _MAX_TEXTS:
        raise refuse("input", f"Cohere's models embed at most {_MAX_TEXTS} texts per request.")
    sent = {"texts": listed} | ({} if dimensions is None else {"output_dimension": dimensions})
    return {"input_type": _INPUT_TYPE, **openai_request.merge_parameters(sent, own)}


def translate_embeddings(response: Json, context: RequestContext) -> Json:
    """Titan's one vector with its tokens, or Cohere's list of vectors."""
    if "embedding" in response:
        vectors, counts = [response["embedding"]], openai_response.usage(response["inputTextTokenCount"])
    else:
        vectors, counts = response["embeddings"], None
    if isinstance(vectors, dict):  # by type, if the request has embedding_types
        vectors = vectors.get("float") or next(iter(vectors.values()), None)
    return openai_response.embeddings(context, vectors, counts)
