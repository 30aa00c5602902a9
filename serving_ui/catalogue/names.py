"""Validates the names of endpoints, served entities and external models, and makes those of foundation models' endpoints."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256

from serving_ui.catalogue.translatable import TranslatableText, _

MAX_NAME_LENGTH = 63
MAX_MODEL_NAME_LENGTH = 256
NAME_PATTERN = r"[A-Za-z0-9_-]{1,63}"
"""Also the `pattern` attribute of the form's field."""

RESERVED = frozenset({"create", "pt"})
"""Names of endpoints that would collide with URLs of the pages or the API."""

FOUNDATION_PREFIX = "system-"
"""The names of foundation models' endpoints start with it; no user may choose such a name."""
_HASH_DIGITS = 8

_NOT_IN_ENTITY_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_NOT_IN_MODEL_NAMES = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def endpoint_name_problem(name: str) -> TranslatableText | None:
    """The problem with an endpoint's name, if any. The domain checks that it is not taken."""
    if problem := entity_name_problem(name):
        return problem
    if name.lower().startswith("databricks-"):
        return _("Names that start with databricks- are reserved. Choose another name.")
    if name.lower().startswith(FOUNDATION_PREFIX):
        return _(
            "Names that start with system- belong to the foundation models of this server. Choose another name."
        )
    if name in RESERVED:
        return _("%(name)s is part of this server's own addresses. Choose another name.").fill(name=name)
    return None


def entity_name_problem(name: str) -> TranslatableText | None:
    """The problem with a served entity's name, if any."""
    if not name:
        return _("Name is missing. Give it and try again.")
    if len(name) > MAX_NAME_LENGTH:
        return _("A name can have at most %(limit)s characters.").fill(limit=MAX_NAME_LENGTH)
    if not re.fullmatch(NAME_PATTERN, name):
        return _("A name can have only letters (a to z), digits, hyphens and underscores.")
    return None


def model_name_problem(name: str) -> TranslatableText | None:
    """The problem with an external model's name, if any. The provider decides which models exist."""
    if not name:
        return _("External model name is missing. Give the provider's name of the model.")
    if len(name) > MAX_MODEL_NAME_LENGTH:
        return _("External model name can have at most %(limit)s characters.").fill(
            limit=MAX_MODEL_NAME_LENGTH
        )
    if _NOT_IN_MODEL_NAMES.search(name):
        return _("External model name cannot contain spaces or line breaks.")
    return None


def default_entity_name(model: str) -> str:
    """The default name of a served entity: the model's name with hyphens for characters that are not allowed."""
    return _NOT_IN_ENTITY_NAMES.sub("-", model)[:MAX_NAME_LENGTH]


def foundation_name(host: str, model: str, *, is_taken: Callable[[str], bool]) -> str:
    """The name of the endpoint of a model host's model: `system-<host>-<model>`.

    1. Each character that a name cannot contain becomes a hyphen.
    2. A name of more than 63 characters is cut to 54, a hyphen and the first 8 hexadecimal digits of the SHA-256 of
       `system-<host>-<model>` before step 1.
    3. A name that is taken gets the first free number from 2 on at its end, after a hyphen; it is cut to make room.
    """
    wanted = f"{FOUNDATION_PREFIX}{host}-{model}"
    name = _NOT_IN_ENTITY_NAMES.sub("-", wanted)
    if len(name) > MAX_NAME_LENGTH:
        digits = sha256(wanted.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
        name = f"{name[: MAX_NAME_LENGTH - _HASH_DIGITS - 1]}-{digits}"
    numbered, number = name, 1
    while is_taken(numbered):
        number += 1
        end = f"-{number}"
        numbered = name[: MAX_NAME_LENGTH - len(end)] + end
    return numbered
