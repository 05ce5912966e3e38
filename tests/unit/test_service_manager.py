"""What the server tells the service manager that started it."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tendhost.server.service_manager import READY, STOPPING, VARIABLE, ServiceManager


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """A service manager's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.setblocking(False)
        yield listener


@pytest.mark.parametrize("abstract", [False, True])
def test_state__reaches_the_socket_that_the_environment_names(tmp_path: Path, abstract: bool):
    name = str(tmp_path / "notify")
    written, address = (f"@{name}", f"\0{name}") if abstract else (name, name)
    with listening(address) as listener:
        manager = ServiceManager({VARIABLE: written})
        for state in (READY, STOPPING):
            manager.tell(state)
            assert listener.recv(100) == state.encode()


def test_socket__is_not_passed_on_to_programs_that_the_server_starts(tmp_path: Path):
    environment = {VARIABLE: str(tmp_path / "notify"), "PATH": "/bin"}
    ServiceManager(environment)
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize("environment", [{}, {VARIABLE: ""}, {VARIABLE: "vsock:2:1234"}])
def test_server_that_no_service_manager_started__tells_nobody(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.DEBUG):
        ServiceManager(environment).tell(READY)
    assert not caplog.records


@pytest.mark.parametrize("missing", ["gone", "x" * 200])
def test_socket_that_takes_nothing__is_logged_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, missing: str
):
    ServiceManager({VARIABLE: str(tmp_path / missing)}).tell(READY)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert vars(record)["state"] == READY


def test_socket_that_is_full__holds_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with listening(str(tmp_path / "notify")):
        manager = ServiceManager({VARIABLE: str(tmp_path / "notify")})
        while not caplog.records:  # the kernel takes a few hundred that nobody reads
            manager.tell(READY)
