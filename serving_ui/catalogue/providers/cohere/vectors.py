"""The embeddings task: OpenAI-shaped input → `POST /v2/embed`.

Vendor facts as of November 2026, docs.cohere.com/reference/embed: up to 96 texts a request; models of version 3 and later must be told
what the vectors are for.
"""

from __future__ import annotations

from serving_ui.catalogue import answers, questions
from serving_ui.catalogue.exchange import Asked, Json
from serving_ui.catalogue.providers.cohere import question
from serving_ui.catalogue.questions import refuse

_MOST_TEXTS = 96
# OpenAI's question does not say what the vectors are for. Those of documents are made in bulk, and are the vendor's own example.
_INPUT_TYPE = "search_document"


def embed_body(body: Json, model: str) -> Json:
    body = questions.merged(body)
    texts = questions.texts(body["input"], name="input")
    if len(texts) > _MOST_TEXTS:
        raise refuse("input", f"{question.NAME} takes at most {_MOST_TEXTS} texts a request.")
    own = questions.own_fields(body, taken=("input", "dimensions"), provider=question.NAME)
    if "embedding_types" in own:
        raise refuse("embedding_types", "Say encoding_format, float or base64, instead.")
    dimensions = body.get("dimensions")
    sent = {
        "model": model,
        "texts": texts,
        "embedding_types": ["float"],
        **({} if dimensions is None else {"output_dimension": dimensions}),
    }
    return {"input_type": _INPUT_TYPE, **questions.joined(sent, own)}


def read_embeddings(reply: Json, asked: Asked) -> Json:
    billed = ((reply.get("meta") or {}).get("billed_units") or {}).get("input_tokens")
    counts = None if billed is None else answers.usage(int(billed))
    return answers.embeddings(asked, reply["embeddings"]["float"], counts)
