"""Amazon Bedrock's Converse API."""

from __future__ import annotations

from itertools import pairwise

from tests.support.vendor_rules.checks import (
    NAME,
    Json,
    require,
    require_alternating_roles,
    require_no_blank_stops,
    require_no_trailing_space,
    require_unique,
)


def check_converse(body: Json, model: str) -> None:
    of_claude, of_nova = "anthropic." in model, "amazon." in model
    messages = [(each["role"], each["content"]) for each in body["messages"]]
    require_alternating_roles([role for role, _ in messages], first="user", other="assistant")
    for role, blocks in messages:
        require(blocks, "The content field in the Message object at messages.1 is empty.")
        _check_turn(role, blocks, can_mix=of_claude or of_nova)
    for block in body.get("system") or ():
        require(block.get("text", "x").strip(), "The text field in the SystemContentBlock object is blank.")
    tools = (body.get("toolConfig") or {}).get("tools")
    used = [block["toolUse"] for _, blocks in messages for block in blocks if "toolUse" in block]
    require(
        tools or not used,
        "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
    )
    require(tools != [], "Member must have length greater than or equal to 1")
    require_unique(
        (use["toolUseId"] for use in used), "The toolUse blocks at messages.2.content contain duplicate Ids"
    )
    for name in [use["name"] for use in used] + [
        each["toolSpec"]["name"] for each in tools or () if "toolSpec" in each
    ]:
        require(NAME.fullmatch(name), "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+")
    for (_, before), (_, blocks) in pairwise([("user", []), *messages, ("user", [])]):
        called = sorted(block["toolUse"]["toolUseId"] for block in before if "toolUse" in block)
        answered = sorted(block["toolResult"]["toolUseId"] for block in blocks if "toolResult" in block)
        require(called == answered, "Expected toolResult blocks at messages.2.content for the following Ids")
    stops = (body.get("inferenceConfig") or {}).get("stopSequences") or ()
    require(all(stops), "Member must have length greater than or equal to 1")
    if of_claude:
        require_no_trailing_space(messages[-1][0], messages[-1][1][-1].get("text", ""))
        require_no_blank_stops(stops)


def _check_turn(role: str, blocks: list[Json], *, can_mix: bool) -> None:
    kinds = {next(iter(block)) for block in blocks} - {"cachePoint", "reasoningContent"}
    require(kinds, "There is nothing available to cache.")
    mixed = kinds & {"toolUse", "toolResult"} and kinds - {"toolUse", "toolResult"}
    require(
        can_mix or not mixed,
        "Conversation blocks and tool result blocks cannot be provided in the same turn.",
    )
    for block in blocks:
        ((kind, content),) = block.items()
        if kind == "text":
            require(
                content.strip(), "The text field in the ContentBlock object at messages.2.content.1 is blank."
            )
        if kind == "image":
            require(role == "user", "'image' blocks are not permitted within assistant turns.")
        if kind in ("toolUse", "toolResult"):
            require(role == ("assistant" if kind == "toolUse" else "user"), f"{kind} in a turn of the {role}")
            require(
                NAME.fullmatch(content["toolUseId"]),
                "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+",
            )
        if kind == "toolUse":
            require(isinstance(content["input"], dict), "The format of the value at input is invalid.")
        if kind == "toolResult":
            _check_tool_result(content["content"], has_images=can_mix)


def _check_tool_result(content: list[Json], *, has_images: bool) -> None:
    require(content, "The content field in the ToolResultBlock is empty.")
    for inner in content:
        require(inner.get("text", "x").strip(), "The text field in the ToolResultContentBlock is blank.")
        require(
            has_images or "image" not in inner,
            "This model doesn't support the image field for user messages.",
        )
        require(inner.keys() <= {"text", "image", "json"}, "unknown member")
