"""Private keys: read and parsed once, and why one cannot be used."""

from pathlib import Path

import asyncssh

from tendhost.server.domain.errors import KeyUnusable
from tendhost.server.remote.protocol import Target


class KeyRing:
    """The private keys of this server's hosts. A file is read again when it has changed."""

    def __init__(self, default: bytes | None) -> None:
        self._default = default
        self._parsed_default: asyncssh.SSHKey | None = None
        self._files: dict[str, tuple[tuple[int, int], asyncssh.SSHKey]] = {}

    def key_for(self, target: Target) -> asyncssh.SSHKey | None:
        """The key to log in with; None: the agent's. Raises KeyUnusable."""
        if target.ssh_key:
            return self._from_file(target)
        if self._default is None:
            return None
        if self._parsed_default is None:
            self._parsed_default = _parsed(target, self._default, "the key in TENDHOST_SSH_KEY")
        return self._parsed_default

    def _from_file(self, target: Target) -> asyncssh.SSHKey:
        path = Path(target.ssh_key)
        try:
            seen = path.stat()
            version = (seen.st_mtime_ns, seen.st_size)
            known = self._files.get(target.ssh_key)
            if known is not None and known[0] == version:
                return known[1]
            data = path.read_bytes()
        except OSError as error:
            problem = f"the key {path} cannot be read: {error.strerror or error}"
            raise _unusable(target, problem) from error
        key = _parsed(target, data, f"the key {path}")
        self._files[target.ssh_key] = (version, key)
        return key


def _parsed(target: Target, data: bytes, name: str) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(data)
    except asyncssh.KeyEncryptionError as error:
        raise _unusable(target, f"{name} has a passphrase; use one without, or an agent") from error
    except (asyncssh.KeyImportError, ValueError) as error:
        raise _unusable(target, f"{name} is not a private key that can be read: {error}") from error


def _unusable(target: Target, problem: str) -> KeyUnusable:
    return KeyUnusable(host=target.host, address=target.address, problem=problem)
