"""What decides about a login by SSH: the algorithms, the pinned host key, and what the host wants beside the key."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncssh
from asyncssh.public_key import decode_ssh_certificate

from tendhost.server.domain.bounds import text
from tendhost.server.domain.host_errors import (
    AuthenticationRefused,
    HostCertificateRefused,
    HostKeyChanged,
    HostUnreachable,
    SecondFactorWanted,
    SshError,
)
from tendhost.server.domain.hosts.certificates import (
    SUFFIX,
    NoCertificate,
    certificate_of,
    host_certificate_problem,
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


LONGEST_KIND = 64
"""Bytes at the beginning of a host key in which its kind stands (RFC 4250, section 4.6.1)."""
LONGEST_BANNER = 300
"""Characters of what a host says about a login that stand in an error."""


def algorithms_of(*kinds: str) -> tuple[str, ...]:
    """The signature algorithms of these kinds of host keys, in their order."""
    of_rsa = ("rsa-sha2-512", "rsa-sha2-256")
    return tuple(name for kind in kinds for name in (of_rsa if kind == "ssh-rsa" else (kind,)))


def host_key_algorithms(*host_keys: str, certified: bool = False) -> tuple[str, ...]:
    """Those of the pinned kinds first, in the order of the pins: the host shows such a key if it still has one.

    The others stand behind, so that a host which lost it shows what it has now and is refused by
    its fingerprint, instead of by two lists of algorithms that do not meet. `certified`: with certificates first.
    """
    pinned = [kind for key in host_keys if (kind := key.partition(" ")[0]) in KINDS]
    plain = algorithms_of(*dict.fromkeys((*pinned, *KINDS)))
    # A host shows its certificate only to those who ask for it first.
    certificates = tuple(f"{name}{SUFFIX}" for name in plain) if certified else ()
    return (*certificates, *plain)


class PinnedClient(asyncssh.SSHClient):
    """Accepts pinned host keys and certificates of the host's authorities only, and remembers what became of the login.

    A certificate of one of them that is not valid now, or is for another host, is refused although its key may be
    pinned; one of an unknown authority is taken for its key alone, as ssh(1) does.

    The host says by what it asks for why it refuses a login. After a key that it accepts, a host that wants a second
    factor offers what it still wants, and no further key; one that refuses the user offers everything again.
    (RFC 4252, section 5.1; what is offered beside "publickey" is never tried.)
    """

    def __init__(
        self, target: Target, authorities: Sequence[str], *, now: Callable[[], datetime]
    ) -> None:
        """`authorities`: the public keys of those that vouch for the host."""
        self._target = target
        self._authorities = authorities
        self._now = now
        self.certified_key = ""
        """The public key in the certificate that was accepted."""
        self._refused = ""
        self._certificate_problem = ""
        self._key_accepted = False
        self._further_key = False
        self._wanted: list[str] = []
        self._said = ""
        self._note = ""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        # asyncssh compares a certificate with one name only, and tells the client nothing but who signed it. Without
        # this it would ask `validate_host_ca_key`, which accepts nobody.
        of_keys = conn.validate_server_host_key

        def validate(key_data: bytes) -> asyncssh.SSHKey:
            return self._certified(key_data) or of_keys(key_data)

        conn.validate_server_host_key = validate  # type: ignore[method-assign]

    def _certified(self, data: bytes) -> asyncssh.SSHKey | None:
        """The key of a certificate that is accepted; None: the host shows a key alone.

        Raises HostKeyNotVerifiable for any other certificate.
        """
        try:
            # This verifies the signature of the authority.
            found = decode_ssh_certificate(data)
            said = certificate_of(data)
        except (asyncssh.KeyImportError, NoCertificate) as error:
            if SUFFIX.encode() not in data[:LONGEST_KIND]:
                return None
            self._refused = self._certificate_problem = f"its certificate cannot be used: {error}"
            raise asyncssh.HostKeyNotVerifiable(self._certificate_problem) from error
        self._certificate_problem = host_certificate_problem(
            said,
            authorities=self._authorities,
            names=(self._target.host, self._target.address),
            now=self._now(),
        )
        of_another = said.authority not in self._authorities
        if self._certificate_problem and not (of_another and self._is_pinned(said.key)):
            self._refused = said.key
            raise asyncssh.HostKeyNotVerifiable(self._certificate_problem)
        self.certified_key = said.key
        return found.key

    def validate_host_public_key(
        self, host: str, address: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        shown = " ".join(key.export_public_key("openssh").decode().split()[:2])
        if self._is_pinned(shown):
            return True
        self._refused = shown
        return False

    def _is_pinned(self, key: str) -> bool:
        """Whether the key counts without a certificate."""
        target = self._target
        return not target.certified and any(
            key.split() == pinned.split()[:2] for pinned in target.host_keys
        )

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
        if self._refused and (self._certificate_problem or target.certified):
            problem = self._certificate_problem or self._without_certificate()
            return HostCertificateRefused(problem=problem, **where)
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

    def _without_certificate(self) -> str:
        shown = f"it shows the host key {fingerprint(self._refused)} without a certificate"
        if self._authorities:
            return shown
        return (
            f"{shown}, and no [[host_ca]] of the server's configuration is for this host any more"
        )


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
