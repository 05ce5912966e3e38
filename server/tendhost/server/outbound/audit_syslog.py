"""Syslog as a sink of the audit log: over a unix socket, UDP or TCP."""

import socket
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from tendhost.server.domain.access.audit import AuditEntry, documents
from tendhost.server.domain.access.syslog import SyslogAddress, Transport, framed, message_of
from tendhost.server.outbound.audit_sink import PATIENCE, SinkFailed, run_within
from tendhost.server.threads import DaemonThreads

ANSWERS = 16
"""Reads of what a receiver says, which has nothing to say: it is not listened to without end."""


class SyslogSink:
    """A syslog receiver.

    Only TCP tells whether messages arrived: each delivery has a connection of its own, and has arrived once the
    receiver has closed it, having read up to its end.
    """

    def __init__(
        self,
        address: SyslogAddress,
        *,
        facility: int,
        host: str,
        patience: timedelta = PATIENCE,
    ) -> None:
        """`facility`: its number. `host`: the name of this machine in messages."""
        self._address = address
        self._facility = facility
        self._host = host
        self._patience = patience
        self._threads = DaemonThreads(1, name="audit-syslog")

    async def deliver(self, entries: Sequence[AuditEntry], former: str) -> None:
        """See AuditSink."""
        messages = [
            message_of(entry, document, facility=self._facility, host=self._host)
            for entry, document in zip(entries, documents(entries, former), strict=True)
        ]
        send = send_stream if self._address.transport is Transport.TCP else _send_datagrams
        # Half of it for the connection, half for the answer: so it is said which of them did not come.
        seconds = self._patience.total_seconds() / 2
        await run_within(
            self._threads, partial(send, self._address, messages, seconds), self._patience
        )


def send_stream(address: SyslogAddress, messages: list[bytes], seconds: float) -> None:
    """Send messages over TCP; `seconds` for the connection, and for each read of an answer.

    Raises SinkFailed and OSError.
    """
    with socket.create_connection((address.host, address.port), timeout=seconds) as connection:
        connection.sendall(framed(messages))
        connection.shutdown(socket.SHUT_WR)
        try:
            for _ in range(ANSWERS):
                if not connection.recv(4096):
                    return
        except TimeoutError:
            raise SinkFailed(
                f"the receiver did not close the connection within {seconds:g} s: it is unknown whether it has"
                " read the records"
            ) from None
        raise SinkFailed("the receiver answers, and does not close the connection")


def _send_datagrams(address: SyslogAddress, messages: list[bytes], seconds: float) -> None:
    with _datagram_socket(address) as connection:
        connection.settimeout(seconds)
        for message in messages:
            connection.send(message)


def _datagram_socket(address: SyslogAddress) -> socket.socket:
    family: int = socket.AF_UNIX
    where: object = address.path
    if address.transport is Transport.UDP:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
        family, _, _, _, where = found[0]
    connection = socket.socket(family, socket.SOCK_DGRAM)
    try:
        connection.connect(where)  # type: ignore[arg-type]  # that of the family
    except BaseException:
        connection.close()
        raise
    return connection
