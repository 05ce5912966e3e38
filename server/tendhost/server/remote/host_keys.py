"""Comparison of public host keys, as fingerprints or as keys."""

import base64
import binascii
import hashlib


def fingerprint(host_key: str) -> str:
    """`SHA256:…` of a public key given as type and base64, as `ssh-keygen -l` prints it.

    Anything that is not such a key is given back as it is.
    """
    parts = host_key.split()
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (IndexError, binascii.Error):
        return host_key
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"


def matches(host_key: str, expected: str) -> bool:
    """Whether `expected`, a fingerprint or a public key with or without a comment, is of `host_key`."""
    if expected.startswith("SHA256:"):
        return fingerprint(host_key) == expected.strip()
    return host_key.split()[:2] == expected.split()[:2]
