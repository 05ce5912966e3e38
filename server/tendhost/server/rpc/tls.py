"""The server's certificate: read from files, and read again whenever they change."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from tendhost.server.certificates import (
    CertificateInfo,
    CertificateProblem,
    ServerPair,
    read_authorities,
    read_pair,
)
from tendhost.server.clock import Clock
from tendhost.server.domain.access.certificate_expiry import not_valid_yet
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.given_files import FileUnusable, FileVersion, version_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """The files with the server's certificate and key, and with the CA of client certificates."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    """None: no client certificate is accepted."""

    def require_usable(self, *, clients: bool) -> None:
        """Raise ConfigurationError unless the files can be used, and with `clients` that of `client_ca`."""
        self._first(clients=clients)

    def credentials(self, *, clients: bool, clock: Clock) -> grpc.ServerCredentials:
        """For a listener; with `clients`, each client has to show a certificate of `client_ca`.

        TLS 1.2 or later, which is gRPC's rule. A certificate that has expired, or is not valid yet, is used at the
        start, for the server's work and its socket do not depend on it, and the watch of certificates tells people;
        it does not replace one that is valid. Raises ConfigurationError where a file cannot be used.
        """
        used, first = self._first(clients=clients)
        told = ""

        def changed() -> Any:
            # gRPC asks before each handshake, in a thread of its own; what is raised here would be lost. Each
            # listener is asked for, and has a certificate of its own.
            nonlocal used, told
            try:
                versions = self._versions(clients=clients)
                if versions == used:
                    return None
                pair = read_pair(self.certificate, self.key)
                _require_valid(pair.info, clock)
                loaded = _configuration(pair, self._roots(clients=clients))
            except Exception as error:
                # Whoever opens connections does not fill the log.
                if str(error) != told:
                    told = str(error)
                    logger.warning("the former certificate stays in use", extra={"cause": told})
                return None
            used, told = versions, ""
            logger.info("the certificate was read again", extra={"file": str(self.certificate)})
            return loaded

        return grpc.dynamic_ssl_server_credentials(first, changed, clients)

    def _first(
        self, *, clients: bool
    ) -> tuple[tuple[FileVersion, ...], grpc.ServerCertificateConfiguration]:
        """What the server starts with, and the versions of the files. Raises ConfigurationError."""
        if clients and self.client_ca is None:
            raise ConfigurationError(
                field="tls_client_ca",
                value="",
                expected="a file, for an address mtls:// is listened on",
            )
        try:
            # Before the files are read: what changes meanwhile is then read again.
            versions = self._versions(clients=clients)
            pair = read_pair(self.certificate, self.key)
        except CertificateProblem as error:
            raise _refused(self._setting(error.path), error) from error
        try:
            return versions, _configuration(pair, self._roots(clients=clients))
        except CertificateProblem as error:
            raise _refused("tls_client_ca", error) from error

    def _roots(self, *, clients: bool) -> bytes | None:
        """The CAs of client certificates; None: none is asked for. Raises CertificateProblem."""
        return read_authorities(self.client_ca) if clients and self.client_ca else None

    def _setting(self, path: Path) -> str:
        """The setting that names `path`."""
        if path == self.certificate:
            return "tls_certificate"
        return "tls_key" if path == self.key else "tls_client_ca"

    def _versions(self, *, clients: bool) -> tuple[FileVersion, ...]:
        """Raises CertificateProblem where there is no such file."""
        client_ca = (self.client_ca,) if clients and self.client_ca else ()
        return tuple(map(_version_of, (self.certificate, self.key, *client_ca)))


def _refused(setting: str, error: CertificateProblem) -> ConfigurationError:
    return ConfigurationError(
        field=setting,
        value=str(error.path),
        expected=f"a file that can be used: {error.problem}",
    )


def _configuration(pair: ServerPair, roots: bytes | None) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(pair.key, pair.certificate)], root_certificates=roots
    )


def _version_of(file: Path) -> FileVersion:
    try:
        return version_of(file)
    except FileUnusable as error:
        raise CertificateProblem(file, f"it {error}") from error


def _require_valid(info: CertificateInfo, clock: Clock) -> None:
    """Raise CertificateProblem unless clients accept the certificate now."""
    now = clock.now()
    if now < info.not_before:
        raise CertificateProblem(info.path, not_valid_yet(info.not_before, now))
    if info.not_after <= now:
        raise CertificateProblem(
            info.path, f"it has expired, at {info.not_after:%Y-%m-%d %H:%M} UTC"
        )
