"""Tells the service manager that started the server how far the server is, by the protocol of sd_notify(3).

systemd names its socket in `NOTIFY_SOCKET`. Without that variable nothing listens, and nothing is sent.
"""

import logging
import socket
from collections.abc import MutableMapping

logger = logging.getLogger(__name__)

VARIABLE = "NOTIFY_SOCKET"
READY = "READY=1"
STOPPING = "STOPPING=1"


class ServiceManager:
    """The service manager, if there is one."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take `NOTIFY_SOCKET` out of the environment: programs that the server starts speak for themselves."""
        self._address = _address(environment.pop(VARIABLE, ""))

    def tell(self, state: str) -> None:
        """Send a state, such as READY. Never raises: a server that cannot tell serves all the same.

        The socket is one of datagrams, which its reader takes whole (sd_notify(3), "Implementation Notes").
        """
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(state.encode(), self._address)
        except OSError as error:
            logger.warning(
                "the service manager was not told", extra={"state": state, "problem": str(error)}
            )


def _address(text: str) -> str:
    """The address of the socket: a path, or a name in the abstract namespace, written with a leading @."""
    if text.startswith("@"):
        return "\0" + text[1:]
    # systemd also knows vsock:, for virtual machines that boot; it is never that of a service.
    return text if text.startswith("/") else ""
