"""Stored documents: JSON with the version of its form.

A program reads what older ones have stored, for a field that is missing has a default. What a newer one has
stored it must not: it would drop the fields that it does not know, and write the rest back. So a change that adds a
field which must not be lost, after a release, raises the version of its document in VERSIONS.

A document of version 1 says nothing of it, so that versions cost no byte before they are needed, nor 7 after.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")

VERSIONS: Mapping[str, int] = {}
"""The version that this program writes and reads up to, by the name of the document; 1 where none is given."""

_MARK = '{"v":'
"""How a document begins that says its version. No document has a field of this name."""
_encoder = msgspec.json.Encoder()


class NewerForm(ValueError):
    """A document was stored by a newer program, in a form that this one would lose a part of."""

    def __init__(self, *, version: int, known: int) -> None:
        self.version, self.known = version, known
        super().__init__(f"version {version} of its form, and this program reads up to {known}")


class Form(Generic[T]):
    """The documents of one kind of value, by its `name` in VERSIONS."""

    def __init__(self, kind: type[T], name: str) -> None:
        self._name = name
        self._decoder = msgspec.json.Decoder(kind)

    def encode(self, value: T) -> str:
        """The stored form of `value`."""
        text = _encoder.encode(value).decode()
        version = VERSIONS.get(self._name, 1)
        if version == 1:
            return text
        return f"{_MARK}{version}{',' if len(text) > 2 else ''}{text[1:]}"

    def decode(self, text: str) -> T:
        """What was stored. Raises NewerForm, and what msgspec raises for what is no such document."""
        if text.startswith(_MARK):
            version, known = msgspec.json.decode(text)["v"], VERSIONS.get(self._name, 1)
            if version > known:
                raise NewerForm(version=version, known=known)
        return self._decoder.decode(text)
