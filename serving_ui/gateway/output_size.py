"""How many tokens a request lets the model write: parameters such as `max_tokens`, in every vendor's spelling. Pure.

Read from the same body that the provider gets, after the texts in its `extra_params` are parsed (`typed`), because the Databricks
SDK can send only texts there. A number of another type (5000.0, "5000", true) raises GatewayError with the parameter's name, since
one provider would accept it as the number and another would not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue.openai_request import OPENAI_FIELDS
from serving_ui.gateway.errors import invalid
from serving_ui.lib import json_text

_MAX_VALUE = 2**31 - 1
# In lower case without underscores: Google accepts max_output_tokens, maxOutputTokens and any mixture.
_TOKEN_NAMES = frozenset({
    "maxtokens",  # OpenAI and most others
    "maxcompletiontokens",
    "maxoutputtokens",  # OpenAI's Responses, Google
    "maxnewtokens",  # TGI, Transformers
    "maxtokenstosample",  # Anthropic's legacy interface
    "maxtokencount",  # Titan
    "maxgenlen",  # Llama on Bedrock
    "npredict",  # llama.cpp
    "numpredict",  # Ollama
})  # fmt: skip
_ANSWER_NAMES = frozenset(
    {"n", "bestof", "candidatecount", "numresults", "numgenerations", "numreturnsequences"}
)
_THINKING_NAMES = frozenset({"budgettokens", "tokenbudget", "thinkingbudget"})
"""Tokens for reasoning. Here 0 means none and -1 means that the model decides."""
_CONTAINERS = frozenset({
    *("generationconfig", "thinkingconfig"),  # Google
    *("inferenceconfig", "additionalmodelrequestfields", "textgenerationconfig"),  # Bedrock
    *("thinking", "reasoning", "parameters", "options"),  # Anthropic and Cohere, OpenRouter, TGI, Ollama
})  # fmt: skip
"""Objects that contain such parameters."""
_THINKING_CONTAINERS = frozenset({"thinking", "thinkingconfig", "reasoning"})
_OTHER_FIELDS = OPENAI_FIELDS - {"max_tokens", "max_completion_tokens", "n", "best_of"}
_ONLY_MAX_TOKENS = frozenset({"max_tokens"})
_TEXT_FIELDS = frozenset({"user", "safety_identifier", "prompt_cache_key", "suffix", "stop"})
"""Fields that are texts in OpenAI's API, even if the text looks like a number."""
_FIRST_CHARS_OF_JSON = frozenset('-0123456789tfn[{" \t\r\n')


def typed(extra: Mapping[str, Any]) -> dict[str, Any]:
    """`extra_params` with its texts parsed as JSON. A text that is no JSON stays as it is; one in quotes is the text within."""
    return {name: _typed(name, value) if isinstance(value, str) else value for name, value in extra.items()}


def _typed(name: str, text: str) -> Any:
    if text[:1] not in _FIRST_CHARS_OF_JSON:
        return text
    try:
        value = json_text.read(text.encode(errors="surrogatepass"))
    except json_text.JsonInvalid:
        return text
    return text if name in _TEXT_FIELDS and isinstance(value, int | float) else value


def max_output_tokens(body: Mapping[str, Any], *, is_prompt: bool) -> tuple[int, bool]:
    """(tokens that the model may write in all its answers, or 0; whether the body sets no such number).

    `body` has its extra parameters merged. Of several parameters with the same meaning the largest counts. Raises GatewayError for
    a value that is no count; `max_tokens` of a completion (`is_prompt`) may be 0.
    """
    names = body.keys() - _OTHER_FIELDS
    if names == _ONLY_MAX_TOKENS and type(body["max_tokens"]) is int and 0 < body["max_tokens"] <= _MAX_VALUE:
        return body["max_tokens"] * _prompts(body), False
    if not names:
        return 0, True
    tokens, thinking, answers = 0, 0, 1
    for path, name, value in _parameters(body):
        if type(value) is not int:  # nor bool
            raise invalid(f"The field {path} must be a whole number such as 100, and no text or fraction.")
        if name in _THINKING_NAMES:
            thinking = max(thinking, value)
            continue
        least = 0 if is_prompt and path == "max_tokens" else 1
        if not least <= value <= _MAX_VALUE:
            raise invalid(
                f"The field {path} must be a whole number from {least} to {_MAX_VALUE}. Or leave it out."
            )
        if name in _TOKEN_NAMES:
            tokens = max(tokens, value)
        else:
            answers = max(answers, value)
    return max(tokens, thinking) * answers * _prompts(body), not tokens


def _parameters(
    body: Mapping[str, Any], at: str = "", is_thinking: bool = False
) -> list[tuple[str, str, Any]]:
    """(path, name, value) of each such parameter that is not null. A list, because generators are slower for so few items."""
    found: list[tuple[str, str, Any]] = []
    for key, value in body.items():
        if key in _OTHER_FIELDS or value is None:
            continue
        name = key.replace("_", "").lower()
        if name in _TOKEN_NAMES:
            found.append((at + key, "budgettokens" if is_thinking else name, value))
        elif name in _ANSWER_NAMES or name in _THINKING_NAMES:
            found.append((at + key, name, value))
        elif name in _CONTAINERS and isinstance(value, dict):
            found += _parameters(value, f"{at}{key}.", name in _THINKING_CONTAINERS)
    return found


def _prompts(body: Mapping[str, Any]) -> int:
    """The number of prompts, each of which gets an answer. A list of numbers is one tokenised prompt."""
    if "prompt" not in body:
        return 1
    prompt = body["prompt"]
    if not isinstance(prompt, list) or not prompt or isinstance(prompt[0], int):
        return 1
    return len(prompt)
