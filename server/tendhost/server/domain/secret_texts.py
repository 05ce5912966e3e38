"""Secrets that stand in a text by mistake, known by their form, and the text without them.

Whoever pastes a token where an id belongs, or a URL with a password where a name belongs, is told so with the value: it
would then stand in logs, in audit records, and in the output of scripts.
"""

import re
from collections.abc import Mapping

_DATABASE_SECRETS = frozenset({"PGPASSWORD", "PGPASSFILE"})
"""How libpq's clients, and the server's own, are given the password of a database."""
_SECRET = re.compile(
    r"(?P<token>tend_[0-9a-z]{12}_)[0-9a-z_]+"
    # RFC 7519: a header and a claims set, each of which is a JSON object, and a signature.
    r"|\b(?P<jwt>eyJ)[\w-]+\.eyJ[\w-]+\.[\w-]*"
    # RFC 3986, section 3.2.1: before the "@" of an authority are a user and a password.
    r"|(?P<url>://)[^/?#\s@]+(?=@)"
    # RFC 7468, and PROTOCOL.key of OpenSSH. An end is not waited for: texts are cut.
    r"|(?P<key>-----BEGIN [A-Z ]*PRIVATE KEY-----)[0-9a-z+/=:,\s\\-]+",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """`text` with "…" in place of the secret part of tokens, JWTs and private keys, and of users and passwords in URLs.

    The id of a token is none of its secret part.
    """
    return _SECRET.sub(lambda found: f"{found[found.lastgroup or 0]}…", text)


def environment_for_programs(environment: Mapping[str, str]) -> dict[str, str]:
    """The server's environment for a program that it starts: without the settings and secrets of tendhost."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("TENDHOST_") and name not in _DATABASE_SECRETS
    }
