"""What decides about a login by SSH: the algorithms, the pinned host key, and what the host wants beside the key."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import asyncssh

from tendhost.server.domain.bounds import text
from tendhost.server.domain.host_errors import (
    AuthenticationRefused,
    HostKeyChanged,
    HostUnreachable,
    SecondFactorWanted,
    SshError,
)
from tendhost.server.domain.hosts.host_keys import KINDS, fingerprint
from tendhost.server.remote.private_keys import LoginKeys
from tendhost.server.remote.protocol import Target

# AES-GCM costs a quarter less than chacha20 where the processor has AES.
_ENCRYPTION = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
# Group exchange is the last: finding a group costs half a second of processor time.
_KEX = (
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group-exchange-sha256",
)
NEGOTIATED: Mapping[str, Any] = {
    "kex_algs": _KEX,
    "encryption_algs": _ENCRYPTION,
    "compression_algs": None,
}
"""What is negotiated beside the host key, the same at enrolment as at every login: a host that can be enrolled can
be logged in to."""


LONGEST_BANNER = 300
"""Characters of what a host says about a login that stand in an error."""


def algorithms_of(*kinds: str) -> tuple[str, ...]:
    """The signature algorithms of these kinds of host keys, in their order."""
    of_rsa = ("rsa-sha2-512", "rsa-sha2-256")
    return tuple(name for kind in kinds for name in (of_rsa if kind == "ssh-rsa" else (kind,)))


def host_key_algorithms(*host_keys: str) -> tuple[str, ...]:
    """Those of the pinned kinds first, in the order of the pins: the host shows such a key if it still has one.

    The others stand behind, so that a host which lost it shows what it has now and is refused by
    its fingerprint, instead of by two lists of algorithms that do not meet.
    """
    pinned = [kind for key in host_keys if (kind := key.partition(" ")[0]) in KINDS]
    return algorithms_of(*dict.fromkeys((*pinned, *KINDS)))


class PinnedClient(asyncssh.SSHClient):
    """Accepts the pinned host keys only, and remembers what became of the login.

    The host says by what it asks for why it refuses a login. After a key that it accepts, a host that wants a second
    factor offers what it still wants, and no further key; one that refuses the user offers everything again.
    (RFC 4252, section 5.1; what is offered beside "publickey" is never tried.)
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._refused = ""
        self._key_accepted = False
        self._further_key = False
        self._wanted: list[str] = []
        self._said = ""
        self._note = ""

    def validate_host_public_key(
        self, host: str, address: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        shown = key.export_public_key("openssh").decode().split()[:2]
        if any(shown == pinned.split()[:2] for pinned in self._target.host_keys):
            return True
        self._refused = " ".join(shown)
        return False

    def auth_banner_received(self, msg: str, lang: str) -> None:
        # Before the key it is for everybody who comes; after it, it says why this user may not log in:
        # pam_nologin(8) "System is going down. Unprivileged users are not permitted to log in anymore."
        if self._key_accepted:
            self._said = text(" ".join(msg.split()), most=LONGEST_BANNER)

    def public_key_auth_requested(self) -> None:
        self._further_key = True

    def kbdint_auth_requested(self) -> None:
        self._wanted.append("keyboard-interactive")

    def password_auth_requested(self) -> None:
        self._wanted.append("password")

    def watching(self, keys: LoginKeys) -> Sequence[asyncssh.SSHKeyPair]:
        """The keys, which tell when the host has accepted one of them: only then it is asked to sign."""
        pairs, self._note = keys.pairs, keys.note
        for pair in pairs:
            for name in ("sign", "sign_async"):
                if hasattr(pair, name):
                    setattr(pair, name, self._noticing(getattr(pair, name)))
        return pairs

    def _noticing(self, sign: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def signed(data: bytes) -> Any:
            self._key_accepted, self._further_key = True, False
            self._wanted.clear()
            return sign(data)

        return signed

    def explained(self, error: SshError) -> SshError:
        """The error of a login, by what the host has shown and asked for."""
        target = self._target
        where = {"host": target.host, "address": target.address}
        if self._refused:
            pinned = ", ".join(map(fingerprint, target.host_keys))
            shown = fingerprint(self._refused)
            return HostKeyChanged(pinned=pinned, shown=shown, **where)
        wanted = " or ".join(self._wanted)
        if self._said:
            problem = f"the host accepts the key and refuses the login: it said {self._said!r}"
            # sshd hangs up then, and a host that boots or goes down lets the user in later.
            passes = isinstance(error, HostUnreachable)
            return (HostUnreachable if passes else AuthenticationRefused)(problem=problem, **where)
        if not isinstance(error, AuthenticationRefused):
            return error
        if not self._key_accepted:
            problem = error.problem
            if wanted and not self._further_key:
                problem = f"the host lets user '{target.user}' in by {wanted} only, not by a key"
            elif self._note:
                problem = f"{problem}; {self._note}"
            return AuthenticationRefused(problem=problem, **where)
        if wanted and not self._further_key:
            return SecondFactorWanted(
                problem=f"the host accepts the key of user '{target.user}' and wants a second factor,"
                f" {wanted}, which tendhost cannot give",
                user=target.user,
                **where,
            )
        problem = (
            f"the host accepts the key and refuses user '{target.user}' all the same, as with PermitRootLogin no,"
            " or it wants a second key; see its sshd_config"
        )
        return AuthenticationRefused(problem=problem, **where)


def login_error(target: Target, error: Exception, seconds: float) -> SshError:
    """The error for a login that failed, or did not succeed within `seconds`."""
    where = {"host": target.host, "address": target.address}
    if isinstance(error, TimeoutError):
        problem = f"it answers at port {target.port}, but no SSH login within {seconds:g} s"
        return HostUnreachable(problem=problem, **where)
    # sshd hangs up on those who show too many keys: a protocol error, to go by its code.
    out_of_patience = "too many authentication failures" in str(error).lower()
    if isinstance(error, asyncssh.PermissionDenied) or out_of_patience:
        problem = (
            f"user '{target.user}' may not log in: {error}; add the server's public key to this user's"
            " authorized_keys on the host"
        )
        return AuthenticationRefused(problem=problem, **where)
    if isinstance(error, asyncssh.ConnectionLost | ConnectionError):
        problem = f"the connection was closed during the login: {error}"
        return HostUnreachable(problem=problem, **where)
    return SshError(problem=f"no SSH login: {error}", **where)
