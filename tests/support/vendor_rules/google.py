"""Google's generateContent API."""

from __future__ import annotations

import re
from itertools import pairwise

from tests.support.vendor_rules.checks import Json, require

FUNCTION_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}")
GEMINI_IMAGE_TYPES = {"image/jpeg", "image/png", "image/webp", "image/heic", "image/heif"}


def check_generate_content(body: Json, _model: str) -> None:
    turns = [(each["role"], each["parts"]) for each in body["contents"]]
    require(turns, "contents is not specified")
    for part in (body.get("systemInstruction") or {}).get("parts") or ():
        require(part["text"], "Unable to submit request because it has an empty text parameter.")
    for role, parts in turns:
        require(role in ("user", "model"), "Please use a valid role: user, model.")
        require(parts, "Unable to submit request because it must include at least one parts field")
        for part in parts:
            _check_part(part)
    _check_turns(turns)
    declared = [
        each["name"] for tool in body.get("tools") or () for each in tool.get("functionDeclarations") or ()
    ]
    for name in declared:
        require(
            FUNCTION_NAME.fullmatch(name), "Invalid function name. Must start with a letter or an underscore."
        )
    calling = ((body.get("toolConfig") or {}).get("functionCallingConfig") or {}).get(
        "allowedFunctionNames"
    ) or ()
    require(set(calling) <= set(declared), "allowed_function_names must be declared")
    stops = (body.get("generationConfig") or {}).get("stopSequences")
    require(
        stops is None or 1 <= len(stops) <= 16, "the supported range is from 1 (inclusive) to 17 (exclusive)"
    )
    require(all(stops or ()), "stop sequences must not be empty")


def _check_part(part: Json) -> None:
    if "text" in part:
        require(part["text"].strip(), "Unable to submit request because it has an empty text parameter.")
    for name in ("functionCall", "functionResponse"):
        if name in part:
            require(FUNCTION_NAME.fullmatch(part[name]["name"]), "Invalid function name.")
            require("id" not in part[name], f'Unknown name "id" at {name}')
            require(
                isinstance(part[name].get("args", part[name].get("response")), dict),
                f"{name} must be a struct",
            )
    if "inlineData" in part:
        kind = (
            part["inlineData"].get("mimeType") or part["inlineData"]["mime_type"]
        )  # it takes both spellings
        require(kind in GEMINI_IMAGE_TYPES, f"Unsupported MIME type: {kind}")


def _check_turns(turns: list[tuple[str, list[Json]]]) -> None:
    require(turns[0][0] == "user", "Please ensure that the conversation starts with a user turn")
    for (before, parts_before), (role, parts) in pairwise([("model", []), *turns, ("user", [])]):
        calls = [part["functionCall"]["name"] for part in parts_before if "functionCall" in part]
        answered = [part["functionResponse"]["name"] for part in parts if "functionResponse" in part]
        require(
            calls == answered,
            "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.",
        )
        require(
            not answered or len(answered) == len(parts),
            "Requests ending with a model turn are not supported.",
        )
        after_results = any("functionResponse" in part for part in parts_before)
        require(
            role != before or not parts or after_results,
            "Please ensure that multiturn requests alternate between user and model.",
        )
