"""What the bytes of a key file are: a private key to log in with, or something else that gets a name."""

import re
from collections.abc import Callable

import asyncssh

EXPECTED = "expected a private key in the format of OpenSSH, PEM or PKCS #8"
_OTHERS: tuple[tuple[str, str], ...] = (
    (
        r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-\S+-cert-v01@openssh\.com\s",
        "is a certificate; expected the private key that it belongs to, whose file has this name without -cert.pub",
    ),
    (
        r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-\S+\s+AAAA|-----BEGIN [A-Z ]*PUBLIC KEY-----|---- BEGIN SSH2 PUBLIC KEY ----",
        "is a public key; expected the private key that it belongs to, whose file has this name without .pub",
    ),
    (r"@cert-authority\s|@revoked\s", f"is a known_hosts file; {EXPECTED}"),
    (r"-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----", f"is an X.509 certificate; {EXPECTED}"),
    (
        r"PuTTY-User-Key-File-",
        "is a private key in PuTTY's format; expected OpenSSH's: puttygen KEY -O private-openssh -o NEW",
    ),
    (r"AGE-SECRET-KEY-|-----BEGIN PGP ", f"is a key of another program; {EXPECTED}"),
)
"""What else people name, by how it begins."""


class KeyFileUnusable(Exception):
    """A file has no key that can be used; the message says why."""


def parsed_key(
    data: bytes, name: str, credential: str, passphrase: Callable[[], bytes | None]
) -> asyncssh.SSHKey:
    """The private key in `data`, which errors call `name`. Raises KeyFileUnusable.

    `passphrase` is asked for a key that has one; `credential` is what errors call it.
    """
    begin = data.lstrip()[:4096].decode("utf-8", "replace")
    for pattern, problem in _OTHERS:
        if re.match(pattern, begin):
            raise KeyFileUnusable(f"{name} {problem}")
    try:
        return _without_token(asyncssh.import_private_key(data), name)
    except ValueError as error:
        # asyncssh has one type of error for all of them, and tells a passphrase by these words.
        if "passphrase" not in str(error).lower():
            problem = f"{name} is not a private key that can be read: {error}; {EXPECTED}"
            raise KeyFileUnusable(problem) from error
    given = passphrase()
    if given is None:
        raise KeyFileUnusable(
            f"{name} has a passphrase; expected the passphrase in the credential {credential}"
            " ($CREDENTIALS_DIRECTORY), a key without one, or an agent"
        )
    try:
        return _without_token(asyncssh.import_private_key(data, given), name)
    except ValueError as error:
        # Whatever the decryption made of it: not what the key is.
        problem = f"{name} has another passphrase than the credential {credential}"
        raise KeyFileUnusable(f"{problem}; expected the passphrase of this key") from error


def _without_token(key: asyncssh.SSHKey, name: str) -> asyncssh.SSHKey:
    """The key, unless a security token has to sign with it (ssh-keygen -t ed25519-sk), which a person touches."""
    if key.get_algorithm().startswith("sk-"):
        raise KeyFileUnusable(
            f"{name} needs a security token at each login; {EXPECTED}, of another kind"
        )
    return key


def parsed_certificate(data: bytes, name: str, key: asyncssh.SSHKey) -> asyncssh.SSHCertificate:
    """The user certificate for `key` in `data`, which errors call `name`. Raises KeyFileUnusable."""
    try:
        found = asyncssh.import_certificate(data)
    except ValueError as error:
        problem = f"{name} cannot be read: {error}; expected the output of ssh-keygen -s"
        raise KeyFileUnusable(problem) from error
    if found.is_x509 or found.is_x509_chain:
        raise KeyFileUnusable(f"{name} is an X.509 certificate; expected one of OpenSSH")
    if found.key.public_data != key.public_data:
        raise KeyFileUnusable(f"{name} belongs to another key")
    return found
