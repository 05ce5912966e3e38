"""Etags: what a resource's mutable part is told by, so that nobody changes what somebody else has changed."""

import hashlib

import msgspec

from tendhost.server.domain.request_errors import EtagMismatch

_encoder = msgspec.json.Encoder(order="deterministic")
_LENGTH = 32
"""Hexadecimal digits: 128 bits, so that no two contents ever share one by chance."""


def etag_of(*parts: object) -> str:
    """The etag of these parts: equal parts have an equal one, whichever server or database it is."""
    return hashlib.sha256(_encoder.encode(parts)).hexdigest()[:_LENGTH]


def require_etag(resource: str, *, wanted: str, current: str) -> None:
    """Raise EtagMismatch unless `current` is the wanted etag, or none is wanted. No resource: empty."""
    if wanted and wanted != current:
        raise EtagMismatch(resource=resource, etag=wanted, current=current)
