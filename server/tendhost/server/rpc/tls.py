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
            used = self._stamp()
            first = self._loaded(clients=clients)
        except (CertificateProblem, OSError) as error:
            raise ConfigurationError(
                field="tls_certificate", value=str(self.certificate), expected=f"usable: {error}"
            ) from error

        def changed() -> Any:
            # gRPC asks before each handshake, in a thread of its own; what is raised here would be lost. Each
            # listener is asked for, and has a certificate of its own.
            nonlocal used
            try:
                stamp = self._stamp()
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

    def _stamp(self) -> Stamp:
        files = (self.certificate, self.key, *filter(None, (self.client_ca,)))
        stats = [file.stat() for file in files]
        return tuple((found.st_mtime_ns, found.st_ino) for found in stats)
