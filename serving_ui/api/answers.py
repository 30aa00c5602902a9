"""Types that several answers share. An answer is a TypedDict: the return type of a view and the schema in the OpenAPI document.

A `NotRequired` field is left out if it has no value; no answer contains null.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

Milliseconds = Annotated[int, Field(description="Milliseconds since 1970.", examples=[1699617587000])]
Id = Annotated[str, Field(pattern="^[0-9a-f]{32}$", examples=["69962db6b9db47c4a8a222d2ac79d7f8"])]
LevelName = Literal["CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"]


class Empty(TypedDict):
    """An empty object."""


class NextPage(TypedDict, total=False):
    """The answer's field of every list that can be requested in pages."""

    next_page_token: Annotated[
        str,
        Field(
            description="The page_token of the next page. Left out on the last page and if the whole list is returned at once."
        ),
    ]


class Error(TypedDict):
    """The body of every error, whatever its status."""

    error_code: Annotated[str, Field(examples=["INVALID_PARAMETER_VALUE"])]
    message: Annotated[str, Field(description="What is wrong and what to do, in sentences.")]
    details: NotRequired[
        Annotated[list[Any], Field(description="For each invalid field its path and a sentence.")]
    ]
