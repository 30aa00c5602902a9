"""Parts that the shapes of several answers share. An answer is a TypedDict: what a view returns and what the document says of it.

A field that is `NotRequired` is left out when there is nothing to say; nothing is answered as null.
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
    """What every list says that may be asked for in pages."""

    next_page_token: Annotated[
        str, Field(description="Left out on the last page, and where everything comes at once.")
    ]


class Error(TypedDict):
    """Every refusal, whatever its status."""

    error_code: Annotated[str, Field(examples=["INVALID_PARAMETER_VALUE"])]
    message: Annotated[str, Field(description="What is wrong and what would be right, in a sentence.")]
    details: NotRequired[
        Annotated[list[Any], Field(description="One item for each wrong field: its path, and a sentence.")]
    ]
