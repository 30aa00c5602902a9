"""The embeddings task: input in OpenAI's format → `POST /v2/embed`.

Vendor facts as of November 2026, docs.cohere.com/reference/embed: up to 96 texts a request; models of version 3 and later require the
purpose of the vectors.
"""

from __future__ import annotations

from serving_ui.catalogue import openai_request, openai_response
from serving_ui.catalogue.openai_request import refuse
from serving_ui.catalogue.providers.cohere import chat_request
from serving_ui.catalogue.wire_format import Json, RequestContext

_MAX_TEXTS = 96
# OpenAI's requests do not have the purpose of the vectors. This is the most frequent one, and that of the vendor's example.
_INPUT_TYPE = "search_document"


def embed_body(body: Json, model: str) -> Json:
    body = openai_request.merge_extra_params(body)
    texts = openai_request.texts(body["input"], name="input")
    if len(texts) > _MAX_TEXTS:
        raise refuse("input", f"{chat_request.NAME} accepts at most {_MAX_TEXTS} texts per request.")
    own = openai_request.vendor_parameters(
        body, supported=("input", "dimensions"), provider=chat_request.NAME
    )
    if "embedding_types" in own:
        raise refuse("embedding_types", "Use encoding_format (float or base64) instead.")
    dimensions = body.get("dimensions")
    sent = {
        "model": model,
        "texts": texts,
        "embedding_types": ["float"],
        **({} if dimensions is None else {"output_dimension": dimensions}),
    }
    return {"input_type": _INPUT_TYPE, **openai_request.merge_parameters(sent, own)}


def translate_embeddings(response: Json, context: RequestContext) -> Json:
    billed = ((response.get("meta") or {}).get("billed_units") or {}).get("input_tokens")
    counts = None if billed is None else openai_response.usage(int(billed))
    return openai_response.embeddings(context, response["embeddings"]["float"], counts)
