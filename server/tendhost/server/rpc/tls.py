"""The server's certificate: read from files, and read again whenever they change."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from tendhost.server.certificates import CertificateProblem, info_of, require_pair
from tendhost.server.domain.request_errors import ConfigurationError

logger = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int], ...]
"""When each of the files was changed, and which file it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """The files with the server's certificate and key, and with the CA of client certificates."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    """None: no client certificate is accepted."""

    def credentials(self, *, clients: bool) -> grpc.ServerCredentials:
        """For a listener; with `clients`, each client has to show a certificate of `client_ca`.

        TLS 1.2 or later, which is gRPC's rule. Raises ConfigurationError where a file cannot be used.
        """
        if clients and self.client_ca is None:
            raise ConfigurationError(
                field="tls_client_ca",
                value="",
                expected="a file, for an address mtls:// is listened on",
            )
        try:
            # Before the files are read: what changes meanwhile is then read again.
            used = self._stamp(clients=clients)
            first = self._loaded(clients=clients)
        except CertificateProblem as error:
            raise ConfigurationError(
                field=self._setting(error.path),
                value=str(error.path),
                expected=f"a file that can be used: {error.problem}",
            ) from error

        def changed() -> Any:
            # gRPC asks before each handshake, in a thread of its own; what is raised here would be lost. Each
            # listener is asked for, and has a certificate of its own.
            nonlocal used
            try:
                stamp = self._stamp(clients=clients)
                if stamp == used:
                    return None
                loaded = self._loaded(clients=clients)
            except Exception as error:
                logger.warning("the former certificate stays in use", extra={"cause": str(error)})
                return None
            used = stamp
            logger.info("the certificate was read again", extra={"file": str(self.certificate)})
            return loaded

        return grpc.dynamic_ssl_server_credentials(first, changed, clients)

    def _loaded(self, *, clients: bool) -> grpc.ServerCertificateConfiguration:
        require_pair(self.certificate, self.key)
        roots = None
        if clients and self.client_ca is not None:
            info_of(self.client_ca)
            roots = self.client_ca.read_bytes()
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)

    def _setting(self, path: Path) -> str:
        """The setting that names `path`."""
        if path == self.certificate:
            return "tls_certificate"
        return "tls_key" if path == self.key else "tls_client_ca"

    def _stamp(self, *, clients: bool) -> Stamp:
        """Raises CertificateProblem where there is no such file."""
        used = (
            self.certificate,
            self.key,
            *([self.client_ca] if clients and self.client_ca else []),
        )
        return tuple(_stamp_of(file) for file in used)


def _stamp_of(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise CertificateProblem(file, f"it cannot be read ({error.strerror})") from error
    return found.st_mtime_ns, found.st_ino
