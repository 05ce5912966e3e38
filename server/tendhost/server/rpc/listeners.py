"""The addresses that the server listens on: unix sockets and loopback in plain text, everything else with TLS."""

import errno
import logging
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

import grpc

from tendhost.server.clock import Clock
from tendhost.server.domain.access.listen import Listener, Security
from tendhost.server.domain.request_errors import ConfigurationError
from tendhost.server.rpc.tls import TlsFiles

logger = logging.getLogger(__name__)


def bind(
    server: grpc.aio.Server, listeners: Sequence[Listener], tls: TlsFiles | None, *, clock: Clock
) -> list[str]:
    """Bind `server` to every address; gives them with the ports that were really taken.

    Raises ConfigurationError where an address cannot be had, or certificates cannot be used.
    """
    bound = [_bound(server, listener, tls, clock) for listener in listeners]
    if any(listener.encrypted for listener in listeners):
        # gRPC's core ends such connections by itself, and says so in its own log alone.
        logger.info(
            "a client in plain text at an address with TLS, or with TLS at one without, has no line here",
            extra={"see": "GRPC_VERBOSITY=INFO", "page": "docs/access.md#tls-that-does-not-fit"},
        )
    return bound


def _bound(server: grpc.aio.Server, listener: Listener, tls: TlsFiles | None, clock: Clock) -> str:
    try:
        if listener.security is Security.SOCKET:
            return _bound_socket(server, listener)
        _require_free(listener)
        if listener.security is Security.PLAIN:
            port = server.add_insecure_port(listener.address)
        else:
            if tls is None:
                raise ConfigurationError(
                    field="listen", value=listener.address, expected="TLS, which is not configured"
                )
            clients = listener.security is Security.MUTUAL_TLS
            credentials = tls.credentials(clients=clients, clock=clock)
            port = server.add_secure_port(listener.address, credentials)
    except RuntimeError:
        port = 0
    if port == 0:
        raise _not_to_be_had(listener)
    return f"{listener.prefix}{listener.address.rpartition(':')[0]}:{port}"


def _require_free(listener: Listener) -> None:
    """Raise ConfigurationError, with the reason, unless every address of the host can be listened on.

    gRPC does not tell the reason, and is content with one of several: of "localhost", somebody else may have the
    other one, and get the tokens of our clients.
    """
    host, _, port = listener.address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(bare, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise _not_to_be_had(listener, error) from error
    missing: OSError | None = None
    free = 0
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                # As gRPC does: what is left of the connections of a former server is no obstacle.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
            free += 1
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise _not_to_be_had(listener, error) from error
            missing = error
    if not free:
        raise _not_to_be_had(listener, missing)


def _bound_socket(server: grpc.aio.Server, listener: Listener) -> str:
    """Bind a unix socket that only its owner may use. Its folder is made where it is missing, for the owner only."""
    path = Path(listener.address.removeprefix("unix:"))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.stat().st_uid not in (0, os.geteuid()):
            # Its owner could put another socket in the place of ours, and read the tokens of those who call it.
            raise ConfigurationError(
                field="listen",
                value=listener.address,
                expected="a folder that belongs to root or to the user who runs the server",
            )
        _remove_stale(path, listener)
    except OSError as error:
        raise ConfigurationError(
            field="listen",
            value=listener.address,
            expected=f"a folder to write to ({error.strerror})",
        ) from error
    # The mode of a socket is that of its creation: changed later, it would be open to others for a moment.
    former = os.umask(0o177)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(path))  # the kernel says why not, and gRPC does not
        path.unlink()
        bound = server.add_insecure_port(listener.address)
    except OSError as error:
        raise _not_to_be_had(listener, error) from error
    finally:
        os.umask(former)
    if bound == 0:
        raise _not_to_be_had(listener)
    return listener.address


def _remove_stale(path: Path, listener: Listener) -> None:
    """Remove a socket that a killed server left. Raises ConfigurationError where something else is there."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(
            field="listen",
            value=listener.address,
            expected="the path of a socket, and something else is there; move it away, or name another path",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise _not_to_be_had(listener)


def _not_to_be_had(listener: Listener, error: OSError | None = None) -> ConfigurationError:
    why = f" ({error.strerror})" if error is not None and error.strerror else ""
    return ConfigurationError(
        field="listen",
        value=listener.address,
        expected=f"an address of this machine that is not in use{why}",
    )
