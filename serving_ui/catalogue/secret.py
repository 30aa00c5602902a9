"""A secret that cannot be printed, logged, pickled or serialised by accident.

It is one of three kinds: a *reference* to a key in a secret scope, a *plaintext*, or a *stored* secret, of which this object has only
the id. Only `reveal()` returns the plaintext. The vault resolves references and ids.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NoReturn, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from serving_ui.catalogue.translatable import _

SecretKind = Literal["reference", "plaintext", "stored"]

_REFERENCE = re.compile(r"\{\{secrets/([A-Za-z0-9_.@-]{1,128})/([A-Za-z0-9_.@-]{1,128})\}\}")
_NOT_A_REFERENCE = _("A secret reference looks like {{secrets/scope/key}}.")


class Secret:
    """Immutable. Made by `from_reference`, `from_plaintext` or `from_stored`."""

    __slots__ = ("_value", "key", "kind", "scope", "stored_id")

    kind: SecretKind
    scope: str | None
    key: str | None
    stored_id: str | None
    _value: str | None

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise TypeError("Use Secret.from_reference, from_plaintext or from_stored.")

    @classmethod
    def from_reference(cls, reference: str) -> Self:
        """Raises ValueError with a sentence unless the text is {{secrets/scope/key}}."""
        found = _REFERENCE.fullmatch(reference.strip())
        if found is None:
            raise ValueError(_NOT_A_REFERENCE)
        return cls._made("reference", scope=found[1], key=found[2])

    @classmethod
    def from_plaintext(cls, value: str) -> Self:
        return cls._made("plaintext", value=value)

    @classmethod
    def from_stored(cls, stored_id: str) -> Self:
        return cls._made("stored", stored_id=stored_id)

    @classmethod
    def _made(
        cls,
        kind: SecretKind,
        *,
        scope: str | None = None,
        key: str | None = None,
        stored_id: str | None = None,
        value: str | None = None,
    ) -> Self:
        secret = object.__new__(cls)
        parts = {"kind": kind, "scope": scope, "key": key, "stored_id": stored_id, "_value": value}
        for name, part in parts.items():
            object.__setattr__(secret, name, part)
        return secret

    @property
    def reference(self) -> str:
        """{{secrets/scope/key}}. Raises ValueError for the other kinds."""
        if self.kind != "reference":
            raise ValueError("Only a secret reference can be spelled out.")
        return "{{secrets/" + f"{self.scope}/{self.key}" + "}}"

    def reveal(self) -> str:
        """The plaintext. Raises ValueError for references and stored secrets, which the vault resolves."""
        if self._value is None:
            raise ValueError("Only a plaintext secret can be revealed. Resolve it first.")
        return self._value

    def __repr__(self) -> str:
        if self.kind == "reference":
            return f"<Secret reference {self.reference}>"
        return "<Secret>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[str | None, ...]:
        return (self.kind, self.scope, self.key, self.stored_id, self._value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("A secret cannot be changed.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("A secret cannot be changed.")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A secret cannot be pickled.")

    def __getstate__(self) -> NoReturn:
        raise TypeError("A secret cannot be pickled.")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(
            cls, serialization=core_schema.plain_serializer_function_ser_schema(repr, when_used="json")
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "writeOnly": True}
