"""How much a request lets the model write: the parameters that say so, in every vendor's spelling. Pure; raises GatewayError.

What is counted here is what the provider is sent: both read the same body, whose `extra_params` are typed first (`typed`), because the
Databricks SDK can send nothing but texts there. A number of another type (5000.0, "5000", true) is refused by its name, since one
provider would take it for the number and another would not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue.openai_request import OPENAI_FIELDS
from serving_ui.gateway.errors import invalid
from serving_ui.lib import json_text

_MOST = 2**31 - 1
# In small letters and without underscores: max_output_tokens and maxOutputTokens are one name, and Google takes any mixture.
_TOKENS = frozenset({
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
_ANSWERS = frozenset({"n", "bestof", "candidatecount", "numresults", "numgenerations", "numreturnsequences"})
_THINKING = frozenset({"budgettokens", "tokenbudget", "thinkingbudget"})
"""How much may be thought. 0 and -1 mean something else than a number."""
_HOLDERS = frozenset({
    *("generationconfig", "thinkingconfig"),  # Google
    *("inferenceconfig", "additionalmodelrequestfields", "textgenerationconfig"),  # Bedrock
    *("thinking", "reasoning", "parameters", "options"),  # Anthropic and Cohere, OpenRouter, TGI, Ollama
})  # fmt: skip
"""Objects in which such parameters stand."""
_THINKING_HOLDERS = frozenset({"thinking", "thinkingconfig", "reasoning"})
_OTHERS = OPENAI_FIELDS - {"max_tokens", "max_completion_tokens", "n", "best_of"}
_USUAL = frozenset({"max_tokens"})
_TEXTS = frozenset({"user", "safety_identifier", "prompt_cache_key", "suffix", "stop"})
"""What is a text for OpenAI, even when it looks like a number."""
_MAYBE_JSON = frozenset('-0123456789tfn[{" \t\r\n')


def typed(extra: Mapping[str, Any]) -> dict[str, Any]:
    """`extra_params` with its texts read as JSON. A plain word stays a word; a text within quotes is that text, whatever it looks like."""
    return {name: _typed(name, value) if isinstance(value, str) else value for name, value in extra.items()}


def _typed(name: str, text: str) -> Any:
    if text[:1] not in _MAYBE_JSON:
        return text
    try:
        value = json_text.read(text.encode(errors="surrogatepass"))
    except json_text.JsonInvalid:
        return text
    return text if name in _TEXTS and isinstance(value, int | float) else value


def read(body: Mapping[str, Any], *, is_prompt: bool) -> tuple[int, bool]:
    """(tokens that the model may write in all its answers, 0 when it is not said; whether it is not said).

    `body` has its extra parameters merged. Of several that say the same the largest counts. Raises for one that is no count; a
    completion (`is_prompt`) may ask for no tokens at all.
    """
    given = body.keys() - _OTHERS
    if given == _USUAL and type(body["max_tokens"]) is int and 0 < body["max_tokens"] <= _MOST:
        return body["max_tokens"] * _prompts(body), False
    if not given:
        return 0, True
    tokens, thinking, answers = 0, 0, 1
    for path, name, value in _given(body):
        if type(value) is not int:  # nor bool
            raise invalid(f"The field {path} must be a whole number such as 100, and no text or fraction.")
        if name in _THINKING:
            thinking = max(thinking, value)
            continue
        least = 0 if is_prompt and path == "max_tokens" else 1
        if not least <= value <= _MOST:
            raise invalid(
                f"The field {path} must be a whole number from {least} to {_MOST}. Or leave it out."
            )
        if name in _TOKENS:
            tokens = max(tokens, value)
        else:
            answers = max(answers, value)
    return max(tokens, thinking) * answers * _prompts(body), not tokens


def _given(body: Mapping[str, Any], at: str = "", is_thinking: bool = False) -> list[tuple[str, str, Any]]:
    """(where, name, value) of each; null means not given. A list, since a generator takes longer than all that it finds."""
    found: list[tuple[str, str, Any]] = []
    for key, value in body.items():
        if key in _OTHERS or value is None:
            continue
        name = key.replace("_", "").lower()
        if name in _TOKENS:
            found.append((at + key, "budgettokens" if is_thinking else name, value))
        elif name in _ANSWERS or name in _THINKING:
            found.append((at + key, name, value))
        elif name in _HOLDERS and isinstance(value, dict):
            found += _given(value, f"{at}{key}.", name in _THINKING_HOLDERS)
    return found


def _prompts(body: Mapping[str, Any]) -> int:
    """Each of several prompts is answered. A list of numbers is one prompt that has been cut already."""
    if "prompt" not in body:
        return 1
    prompt = body["prompt"]
    if not isinstance(prompt, list) or not prompt or isinstance(prompt[0], int):
        return 1
    return len(prompt)
