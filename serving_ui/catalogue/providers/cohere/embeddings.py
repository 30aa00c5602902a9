"""The embeddings task: OpenAI-shaped input → `POST /v2/embed`.

Vendor facts as of November 2026, docs.cohere.com/reference/embed: up to 96 texts a request; models of version 3 and later must be told
what the vectors are for.
"""

from __future__ import annotations

from serving_ui.catalogue import openai_request, openai_response
from serving_ui.catalogue.openai_request import refuse
from serving_ui.catalogue.providers.cohere import chat_request
from serving_ui.catalogue.wire_format import Json, RequestContext

_MAX_TEXTS = 96
# OpenAI's question does not say what the vectors are for. Those of documents are made in bulk, and are the vendor's own example.
_INPUT_TYPE = "search_document"


def embed_body(body: Json, model: str) -> Json:
    body = openai_request.merge_extra_params(body)
    texts = openai_request.texts(body["input"], name="input")
    if len(texts) > _MAX_TEXTS:
        raise refuse("input", f"{chat_request.NAME} takes at most {_MAX_TEXTS} texts a request.")
    own = openai_request.vendor_parameters(
        body, supported=("input", "dimensions"), provider=chat_request.NAME
    )
    if "embedding_types" in own:
        raise refuse("embedding_types", "Say encoding_format, float or base64, instead.")
    dimensions = body.get("dimensions")
    sent = {
        "model": model,
        "texts": texts,
        "embedding_types": ["float"],
        **({} if dimensions is None else {"output_dimension": dimensions}),
    }
    return {"input_type": _INPUT_TYPE, **openai_request.merge_parameters(sent, own)}


def translate_embeddings(reply: Json, context: RequestContext) -> Json:
    billed = ((reply.get("meta") or {}).get("billed_units") or {}).get("input_tokens")
    counts = None if billed is None else openai_response.usage(int(billed))
    return openai_response.embeddings(context, reply["embeddings"]["float"], counts)
